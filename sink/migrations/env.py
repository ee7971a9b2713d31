"""Run by Alembic: migrates over the connection that `sink.migration` gives."""

from alembic import context

from sink.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
