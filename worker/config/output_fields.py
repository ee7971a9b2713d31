"""The fields of the records that the engine writes; worker/config/prediction_fields.py has those of predictions.

The samples follow from the types: a schema must encode each of them and decode the same value.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from schemas.columnar_encoder import Column
from worker.config.task import Task

TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
TEXTS: Final = {"type": "array", "items": "string"}
_TIME_SAMPLE: Final = 1_700_000_000_000
# No number here is exact as a 32-bit float, and no long fits an Avro int.
_LONG: Final = 2**40
_SAMPLES: Final[Mapping[str, tuple[Any, ...]]] = {
    "string": ("text", ""),
    "boolean": (True, False),
    "int": (7,),
    "long": (_LONG,),
    "double": (0.1,),
    "float": (0.5,),
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
        doc: what it means, in schemas that are derived.
        value: what a prediction takes it from, as a column; None in other records, which their writers fill.
        examples: values that a schema must hold, where those of the type are not enough.
        optional: whether a schema may leave it out, as no command reads it back.
        tasks: of the models whose predictions have it; empty: of all.
    """

    type: Any
    doc: str = ""
    value: Callable[[Scores], Column] | None = None
    examples: tuple[Any, ...] = ()
    optional: bool = False
    tasks: frozenset[Task] = frozenset()

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
        if "symbols" in avro_type:
            return (avro_type["symbols"][0],)
        return (_TIME_SAMPLE,) if avro_type == TIME else _samples(avro_type["type"])
    return _SAMPLES[avro_type]


def nullable(avro_type: Any) -> list[Any]:
    """The type, or null."""
    return ["null", avro_type]


Fields = Mapping[str, OutputField]

IDENTITY: Final = ("key", "group", "time")
"""Stand for the input's own names of these."""

MS: Final = "milliseconds since the Unix epoch"
WHO: Final[Fields] = {
    "key": OutputField("string", "What the reading is about; also the message key."),
    "group": OutputField("string", "What the key belongs to."),
    "time": OutputField(TIME, f"Event time of the reading, {MS}."),
}
SOURCE: Final[Fields] = {
    "source_partition": OutputField("int", "Partition of the reading in the input topic."),
    "source_offset": OutputField("long", "Offset of the reading in that partition."),
}
TOPIC_ID: Final = "Id of the input topic, which changes where the topic is deleted and created again."
_READING: Final[Fields] = {"source_topic_id": OutputField("string", TOPIC_ID), **SOURCE}
MODEL: Final[Fields] = {
    "model_name": OutputField("string", "Registered name of the model."),
    "model_version": OutputField("string", "Version of that model."),
}
_TRANSITION: Final = OutputField(
    "string", "ACTIVE: raised, or raised to a higher priority. RTN: returned to normal.", examples=("ACTIVE", "RTN")
)
_ALARM_ID: Final = OutputField("string", "Identity of the alarm, from key and onset alone.")
_AT_TRANSITION: Final = OutputField("double", "Probability at that reading.")
_PEAK: Final = OutputField("double", "Highest probability since the onset.")
_CONTRIBUTION_TYPE: Final = {
    "type": "record",
    "name": "Contribution",
    "fields": [
        {"name": "feature", "type": "string"},
        {"name": "value", "type": ["null", "double"]},
        {"name": "per", "type": ["null", "string"], "default": None},
        {"name": "contribution", "type": "double"},
    ],
}
_CONTRIBUTION: Final = {"feature": "f", "value": 1.1, "per": None, "contribution": -0.2}

ALARM: Final[Fields] = {
    "alarm_id": _ALARM_ID,
    **WHO,
    "state": _TRANSITION,
    "priority": OutputField("string", "Priority of the alarm."),
    "rule": OutputField(nullable("string"), "The rule that raised it; null: the model's own alarm."),
    "onset_ts": OutputField(TIME, f"Event time at which the alarm began, {MS}."),
    "probability": _AT_TRANSITION,
    "peak_probability": _PEAK,
    "contributions": OutputField(
        {"type": "array", "items": _CONTRIBUTION_TYPE},
        "The features that contributed most, largest magnitude first; none where the model cannot say it.",
        examples=([_CONTRIBUTION, _CONTRIBUTION | {"value": None, "per": "p"}], []),
    ),
    "other_contributions": OutputField("double", "Sum of the contributions of all other features."),
    "bias": OutputField("double", "Log-odds that the model starts from, to which the contributions add."),
    **MODEL,
    **_READING,
}
ALARM_STATE: Final[Fields] = {
    **WHO,
    "state": OutputField("string", "NORMAL (an on-delay is running) or ACTIVE.", examples=("ACTIVE", "NORMAL")),
    "priority": OutputField("string", "Priority of the active alarm, empty while NORMAL."),
    "alarm_id": _ALARM_ID,
    "pending_since_ts": OutputField(nullable(TIME), "Event time since which the on-delay is running."),
    "clearing_since_ts": OutputField(nullable(TIME), "Event time since which the off-delay is running."),
    "onset_ts": OutputField(nullable(TIME), "Onset of the active alarm."),
    "probability": _AT_TRANSITION,
    "peak_probability": _PEAK,
    "model_version": MODEL["model_version"],
}
_SITE: Final = OutputField("string", "Site of the readings.")
SKETCH: Final[Fields] = {
    "site": _SITE,
    "hour_ts": OutputField(TIME, "Start of the hour of event time."),
    **MODEL,
    "reference": OutputField("string", "Digest of the training histograms that define the bins."),
    "readings": OutputField("long", "Readings that were counted."),
    "keys": OutputField("long", "Distinct keys among them."),
    "columns": OutputField(
        {"type": "map", "values": {"type": "array", "items": "long"}},
        "Counts by bin of each feature.",
        examples=({"c": [_LONG, 0]}, {}),
    ),
    "missing": OutputField({"type": "map", "values": "long"}, "Missing values by field.", examples=({"s": _LONG},)),
    "schemas": OutputField({"type": "map", "values": "long"}, "Readings by schema.", examples=({"id": _LONG},)),
    **SOURCE,
}
EVENT: Final[Fields] = {
    "event_id": OutputField("string", "Identity of the event."),
    "site": _SITE,
    "kind": OutputField("string", "What has drifted.", examples=("drift",)),
    "subject": OutputField("string", "The feature, field or model that it is about."),
    "state": _TRANSITION,
    "ts": OutputField(TIME, "When the state changed."),
    "value": OutputField("double", "What was measured."),
    "limit": OutputField("double", "The limit that it passed."),
    "psi": OutputField(nullable("double"), "Population stability index."),
    "q_value": OutputField(nullable("double"), "Significance, corrected for many tests."),
    **MODEL,
    "message": OutputField("string", "The event as text."),
}
LABEL: Final[Fields] = {
    "label_id": OutputField("string", "Identity of the label; also the message key."),
    "key": OutputField("string", "What it is about."),
    "kind": OutputField(
        "string",
        "event: it happened at ts. false_alarm: the alarm at ts was none. withdrawn: an earlier label was wrong.",
        examples=("event", "false_alarm", "withdrawn"),
    ),
    "ts": OutputField(TIME, "Event time that it is about."),
    "labelled_at": OutputField(TIME, "When it was given."),
    "by": OutputField(nullable("string"), "Who gave it."),
    "note": OutputField(nullable("string"), "A note for people."),
}
_SHADOW_ALARM: Final = OutputField(
    "string", "Transition that its alarm made at this reading: ACTIVE, RTN, or empty.", examples=("ACTIVE", "RTN", "")
)
SHADOW: Final[Fields] = {
    **WHO,
    "group": OutputField(*WHO["group"][:2], optional=True),
    "model_name": MODEL["model_name"],
    "champion_version": OutputField("string", "Version that scores."),
    "challenger_version": OutputField("string", "Version that scores in the shadow."),
    "champion_probability": OutputField("double", "As on the prediction of this reading."),
    "challenger_probability": OutputField("double", "What the challenger gives for the same features."),
    "champion_positive": OutputField("boolean", "Whether the champion's probability reaches its setpoint."),
    "challenger_positive": OutputField("boolean", "Whether the challenger's reaches its own."),
    "champion_alarm": _SHADOW_ALARM,
    "challenger_alarm": _SHADOW_ALARM,
    **SOURCE,
}
