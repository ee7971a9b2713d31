"""Whether a record in an output topic that cannot be read may have been written by a worker of ours."""

from schemas.errors import MalformedError, UnreadableValueError
from schemas.wire import CONFLUENT_MAGIC


def may_be_ours(value: bytes, error: UnreadableValueError) -> bool:
    """Whether a worker may have written this value.

    Yes where a registry id names its schema: the registry may have lost our schemas, or have others under their ids.
    Schemas that are named by fingerprint come with the package, so a value of ours would be readable.

    Args:
        value: that could not be decoded.
        error: why.
    """
    return value.startswith(CONFLUENT_MAGIC) and not isinstance(error, MalformedError)
