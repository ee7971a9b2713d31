"""Whether a worker may have written a record that cannot be read."""

from schemas.errors import MalformedError, UnreadableValueError
from schemas.wire import CONFLUENT_MAGIC


def may_be_ours(value: bytes, error: UnreadableValueError) -> bool:
    """Whether a worker may have written this value.

    Yes if it names its schema by a registry id: the registry may have lost the schemas, or may have others under their
    ids. Schemas that are named by a fingerprint are part of the package, so a value of a worker could be read.

    Args:
        value: the value that could not be decoded.
        error: why not.
    """
    return value.startswith(CONFLUENT_MAGIC) and not isinstance(error, MalformedError)
