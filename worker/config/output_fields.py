"""The fields of the records that the engine writes: their Avro types, and what predictions take them from.

The samples follow from the types: a schema must encode each of them and decode the same value.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from schemas.columnar_encoder import Column, Flags

TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
TEXTS: Final = {"type": "array", "items": "string"}
_TIME_MS: Final = 1_700_000_000_000
# No number here is exact as a 32-bit float, and no long fits an Avro int.
_LONG: Final = 2**40
_SAMPLES: Final[Mapping[str, tuple[Any, ...]]] = {
    "string": ("text", ""),
    "boolean": (True, False),
    "int": (7,),
    "long": (_LONG,),
    "double": (0.1,),
    "array": (["a", "b"], []),
}


class Scores(NamedTuple):
    """What the fields of predictions are taken from.

    Attributes:
        outcome: of the batch, a `worker.score.outcome.Outcome`; this package is below the one that declares it.
        sensors: names of the columns of its flags.
        topic_id: of the input topic.
        now_ms: the worker's clock.
    """

    outcome: Any
    sensors: tuple[str, ...]
    topic_id: str
    now_ms: int


class OutputField(NamedTuple):
    """One field of an output.

    Attributes:
        type: Avro type.
        value: what a prediction takes it from, as a column; None in other records, which their writers fill.
        examples: values that a schema must hold, where those of the type are not enough.
        optional: whether a schema may leave it out, as no command reads it back.
    """

    type: Any
    value: Callable[[Scores], Column] | None = None
    examples: tuple[Any, ...] = ()
    optional: bool = False

    @property
    def is_time(self) -> bool:
        """Whether it is a time, in ms since 1970."""
        return TIME in (self.type if isinstance(self.type, list) else [self.type])

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values that it may have."""
        return self.examples or _samples(self.type)


def _samples(avro_type: Any) -> tuple[Any, ...]:
    if isinstance(avro_type, list):
        return (*(sample for branch in avro_type if branch != "null" for sample in _samples(branch)), None)
    if isinstance(avro_type, dict):
        return (_TIME_MS,) if avro_type == TIME else _SAMPLES[avro_type["type"]]
    return _SAMPLES[avro_type]


def nullable(avro_type: Any) -> list[Any]:
    """The type, or null."""
    return ["null", avro_type]


Fields = Mapping[str, OutputField]

IDENTITY: Final = ("key", "group", "time")
"""Stand for the input's own names of these."""

_ID: Final = OutputField("string")
_TIME: Final = OutputField(TIME)
_WHO: Final[Fields] = {"key": _ID, "group": _ID, "time": _TIME}
_SOURCE: Final[Fields] = {"source_partition": OutputField("int"), "source_offset": OutputField("long")}
_READING: Final[Fields] = {"source_topic_id": OutputField("string"), **_SOURCE}
_MODEL: Final[Fields] = {"model_name": OutputField("string"), "model_version": OutputField("string")}
_CONTRIBUTION: Final = {"feature": "f", "value": 1.1, "per": None, "contribution": -0.2}
_CONTRIBUTIONS: Final = OutputField(
    {"type": "array", "items": "record"},
    examples=([_CONTRIBUTION, _CONTRIBUTION | {"value": None, "per": "p"}], []),
)
_TRANSITION: Final = OutputField("string", examples=("ACTIVE", "RTN"))

PREDICTION: Final[Fields] = {
    "key": OutputField("string", lambda s: s.outcome.scored.readings.key),
    "group": OutputField("string", lambda s: s.outcome.scored.readings.group, optional=True),
    "time": OutputField(TIME, lambda s: s.outcome.scored.readings.ts),
    "probability": OutputField("double", lambda s: s.outcome.scored.probability),
    "positive": OutputField("boolean", lambda s: s.outcome.scored.probability >= s.outcome.threshold, optional=True),
    "threshold": OutputField("double", lambda s: s.outcome.threshold, optional=True),
    "model_name": OutputField("string", lambda s: s.outcome.model.name),
    "model_version": OutputField("string", lambda s: s.outcome.model.version),
    "readings_in_window": OutputField("int", lambda s: s.outcome.scored.in_window, optional=True),
    "imputed": OutputField(TEXTS, lambda s: Flags(s.outcome.scored.imputed, s.sensors), optional=True),
    "masked": OutputField(TEXTS, lambda s: Flags(s.outcome.scored.masked, s.sensors), optional=True),
    "source_topic_id": OutputField("string", lambda s: s.topic_id),
    "source_partition": OutputField("int", lambda s: s.outcome.scored.origin.partition),
    "source_offset": OutputField("long", lambda s: s.outcome.scored.origin.offset),
    "scored_at": OutputField(TIME, lambda s: s.now_ms, optional=True),
}
"""All values that a prediction may carry; its schema says which."""

ALARM: Final[Fields] = {
    **_WHO,
    "alarm_id": OutputField("string"),
    "state": _TRANSITION,
    "priority": OutputField("string"),
    "onset_ts": _TIME,
    "probability": OutputField("double"),
    "peak_probability": OutputField("double"),
    "contributions": _CONTRIBUTIONS,
    "other_contributions": OutputField("double"),
    "bias": OutputField("double"),
    **_MODEL,
    **_READING,
}
ALARM_STATE: Final[Fields] = {
    **_WHO,
    "state": OutputField("string", examples=("ACTIVE", "NORMAL")),
    "priority": OutputField("string"),
    "alarm_id": OutputField("string"),
    "pending_since_ts": OutputField(nullable(TIME)),
    "clearing_since_ts": OutputField(nullable(TIME)),
    "onset_ts": OutputField(nullable(TIME)),
    "probability": OutputField("double"),
    "peak_probability": OutputField("double"),
    "model_version": OutputField("string"),
}
SKETCH: Final[Fields] = {
    "site": OutputField("string"),
    "hour_ts": _TIME,
    **_MODEL,
    "reference": OutputField("string"),
    "readings": OutputField("long"),
    "keys": OutputField("long"),
    "columns": OutputField(
        {"type": "map", "values": {"type": "array", "items": "long"}}, examples=({"c": [_LONG, 0]}, {})
    ),
    "missing": OutputField({"type": "map", "values": "long"}, examples=({"s": _LONG},)),
    "schemas": OutputField({"type": "map", "values": "long"}, examples=({"id": _LONG},)),
    **_SOURCE,
}
EVENT: Final[Fields] = {
    "event_id": OutputField("string"),
    "site": OutputField("string"),
    "kind": OutputField("string", examples=("drift",)),
    "subject": OutputField("string"),
    "state": _TRANSITION,
    "ts": _TIME,
    "value": OutputField("double"),
    "limit": OutputField("double"),
    "psi": OutputField(nullable("double")),
    "q_value": OutputField(nullable("double")),
    **_MODEL,
    "message": OutputField("string"),
}
LABEL: Final[Fields] = {
    "label_id": OutputField("string"),
    "key": OutputField("string"),
    "kind": OutputField("string", examples=("event", "false_alarm", "withdrawn")),
    "ts": _TIME,
    "labelled_at": _TIME,
    "by": OutputField(nullable("string")),
    "note": OutputField(nullable("string")),
}
_SHADOW_ALARM: Final = OutputField("string", examples=("ACTIVE", "RTN", ""))
SHADOW: Final[Fields] = {
    **_WHO,
    "group": OutputField("string", optional=True),
    "model_name": OutputField("string"),
    "champion_version": OutputField("string"),
    "challenger_version": OutputField("string"),
    "champion_probability": OutputField("double"),
    "challenger_probability": OutputField("double"),
    "champion_positive": OutputField("boolean"),
    "challenger_positive": OutputField("boolean"),
    "champion_alarm": _SHADOW_ALARM,
    "challenger_alarm": _SHADOW_ALARM,
    **_SOURCE,
}
