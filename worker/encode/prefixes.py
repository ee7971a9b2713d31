"""What stands in front of each record of an output topic, so that readers find its schema."""

from common.errors import UserError
from schemas.errors import UnreadableValueError
from schemas.registry import SchemaRegistry
from worker.config.pipeline import Pipeline
from worker.config.roles import ROLES


def output_prefixes(registry: SchemaRegistry | None, pipeline: Pipeline) -> dict[str, bytes]:
    """Confluent prefixes of the outputs by role, registered where they are not yet.

    Args:
        registry: None: there is none, which means single-object encoding, and the result is empty.
        pipeline: names the topics and schemas.

    Raises:
        UserError: the registry refuses a schema.
        DependencyDownError: it does not answer.
    """
    if registry is None:
        return {}
    written = {role: record for role, record in pipeline.records.items() if ROLES[role].written}
    try:
        return {role: registry.prefix(pipeline.topics[role], record.schema) for role, record in written.items()}
    except UnreadableValueError as error:
        raise UserError(f"{error}; see the compatibility rule of the subject in the registry") from error
