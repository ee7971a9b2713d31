"""Why a record becomes a dead letter: each stable reason code, what it means, and when to redrive."""

from enum import StrEnum
from typing import Self


class DeadLetterReason(StrEnum):
    """A reason code. To add one, add a member here and reject records with it where the fault is found.

    Attributes:
        meaning: what is wrong with the record.
        redrive: when sending the record again helps.
    """

    meaning: str
    redrive: str

    def __new__(cls, code: str, meaning: str, redrive: str) -> Self:
        """Make a member whose value is the code alone."""
        member = str.__new__(cls, code)
        member._value_, member.meaning, member.redrive = code, meaning, redrive
        return member

    UNKNOWN_SCHEMA = (
        "unknown_schema",
        "the record names a schema that neither the registry nor this package has",
        "after the schema is registered, or SCHEMA_REGISTRY_URL is set for the workers",
    )
    INCOMPATIBLE_SCHEMA = (
        "incompatible_schema",
        "Avro cannot resolve the writer's schema to the pipeline's",
        "after the pipeline's schema resolves the writer's (new aliases or defaults)",
    )
    MALFORMED = (
        "malformed",
        "the bytes are not exactly one value of the writer's schema",
        "only after the workers can read these bytes; a broken record stays broken",
    )
    INVALID = (
        "invalid",
        "a field is out of range or has the wrong form, or no field has a usable value",
        "after the ranges are widened, or the pipeline masks impossible values",
    )
    WRONG_KEY = (
        "wrong_key",
        "the message key differs from the record's key field",
        "only after the pipeline's key field is corrected; the copy goes to the same partition",
    )
    NO_KEY = (
        "no_key",
        "the message has no key that is text, and the pipeline keeps windows or alarms by the messages' keys",
        "never: the copy has no key either. Correct the sender",
    )
    NULL_VALUE = ("null_value", "the message has no value", "never: there is nothing to score")
    FUTURE = (
        "future",
        "the event time is further ahead of the Kafka timestamp than max_future_ms allows",
        "after that time has passed, if the input topic has LogAppendTime; otherwise after max_future_ms is raised",
    )
    NO_TIMESTAMP = (
        "no_timestamp",
        "the record has no Kafka timestamp to check the event time against",
        "at any time: the copy gets a timestamp when it is sent",
    )
    UNREADABLE = (
        "unreadable",
        "the client cannot read the batch (too large, damaged, or in an unknown compression)",
        "never: the letter does not hold the batch",
    )
    IMPLAUSIBLE_TIME = (
        "implausible_time",
        "the event time is not in milliseconds, or is before the year 2000",
        "never: the event time stays the same. Correct the sender: it must send milliseconds",
    )
    LATE = (
        "late",
        "the reading is older than its key's newest readings by more than the allowed lateness",
        "only after the newer readings of its key have expired (7.5 minutes by default); before that it is late again",
    )
    UNSCORABLE = (
        "unscorable",
        "the model requires a value that is missing, or has one that it does not know",
        "after a model is in use that can score it; while its window holds it, the copy counts as a duplicate",
    )


IN_WINDOWS = frozenset({DeadLetterReason.LATE, DeadLetterReason.UNSCORABLE})
"""Readings with these reasons were not scored, and count in windows all the same: a replay keeps them."""
