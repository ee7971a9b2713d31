"""Errors of message values that cannot be decoded. Each class has the reason of its dead letters."""

from typing import ClassVar

from common.dead_letter_reasons import DeadLetterReason


class UnreadableValueError(Exception):
    """The base class of these errors. Catch it, but raise a subclass.

    Attributes:
        reason: reason of the dead letter.
    """

    reason: ClassVar[DeadLetterReason]


class MalformedError(UnreadableValueError):
    """The bytes are not a value in either wire format, or not exactly one record of the writer's schema."""

    reason = DeadLetterReason.MALFORMED


class UnknownSchemaError(UnreadableValueError):
    """The value names a schema that is neither in the registry nor in the pipeline's folder."""

    reason = DeadLetterReason.UNKNOWN_SCHEMA


class IncompatibleSchemaError(UnreadableValueError):
    """The writer's schema cannot be resolved to the reader's by Avro's rules."""

    reason = DeadLetterReason.INCOMPATIBLE_SCHEMA


class NullValueError(UnreadableValueError):
    """The value is null: the null branch of the writer's top-level union."""

    reason = DeadLetterReason.NULL_VALUE


class InvalidValueError(UnreadableValueError):
    """A field has a value that its type does not allow, such as a text that is not a time."""

    reason = DeadLetterReason.INVALID
