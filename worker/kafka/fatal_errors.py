"""The exception that a producer's fatal error becomes in the worker."""

from confluent_kafka import KafkaError

from common.errors import DeniedError, UncertainError, UserError
from worker.kafka.client_config import error_text
from worker.kafka.permissions import DENIED

# A new producer would get the same error.
_FOR_GOOD = {
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001 - librdkafka's name
}


def ending(error: BaseException) -> Exception:
    """The exception that a fatal error becomes."""
    if error.args[0].code() in DENIED:
        return DeniedError(error_text(error))
    if error.args[0].code() in _FOR_GOOD:
        return UserError(f"the broker refuses this producer: {error_text(error)}; correct this and start again")
    return UncertainError(error_text(error))
