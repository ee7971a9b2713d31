"""Why a message value could not be read. Each kind has the stable reason code of its dead letter."""

from typing import ClassVar

from common.dead_letter_reasons import DeadLetterReason


class UnreadableValueError(Exception):
    """A message value that does not become a record. Catch this one; raise one of its kinds.

    Attributes:
        reason: reason code in the dead letter's headers.
    """

    reason: ClassVar[DeadLetterReason]


class MalformedError(UnreadableValueError):
    """The bytes are not a value in either wire format, or not exactly one record of the writer's schema."""

    reason = DeadLetterReason.MALFORMED


class UnknownSchemaError(UnreadableValueError):
    """The value names a schema that neither the registry nor this package knows."""

    reason = DeadLetterReason.UNKNOWN_SCHEMA


class IncompatibleSchemaError(UnreadableValueError):
    """Avro's resolution rules give no way from the writer's schema to the reader's."""

    reason = DeadLetterReason.INCOMPATIBLE_SCHEMA


class NullValueError(UnreadableValueError):
    """The value is a null: a branch of the writer's top-level union."""

    reason = DeadLetterReason.NULL_VALUE


class InvalidValueError(UnreadableValueError):
    """A field's value does not have the meaning that its place gives it."""

    reason = DeadLetterReason.INVALID
