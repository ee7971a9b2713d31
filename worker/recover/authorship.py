"""Whether a worker may have written a record that cannot be read."""

from schemas.errors import IncompatibleSchemaError, MalformedError, UnreadableValueError
from schemas.wire import CONFLUENT_MAGIC


def may_be_ours(value: bytes, error: UnreadableValueError) -> bool:
    """Whether a worker may have written this value.

    Yes if it names its schema by a registry id: the registry may have lost the schemas, or may have others under their
    ids. Yes, too, if its schema is known and does not fit, because the output's schema may have been changed. A value
    that names its schema by an unknown fingerprint counts as foreign: the pipeline's folder keeps superseded versions
    (`NAME.v1.avsc`) of its schemas.

    Args:
        value: the value that could not be decoded.
        error: why not.
    """
    named_by_id = value.startswith(CONFLUENT_MAGIC) and not isinstance(error, MalformedError)
    return named_by_id or isinstance(error, IncompatibleSchemaError)
