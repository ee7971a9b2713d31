"""The sink's own tables."""

import sqlalchemy as sa
from alembic import op

from sink.schema import TIMESTAMP

revision = "1"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "sink_offsets",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("topic_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("updated_at", TIMESTAMP, nullable=False),
    )
    op.create_table(
        "sink_columns",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("field", sa.Text, primary_key=True),
        sa.Column("column_name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_table(
        "sink_losses",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("topic_id", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("first_offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last_offset", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("noticed_at", TIMESTAMP, nullable=False),
    )
