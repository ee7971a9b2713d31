"""The engine's output fields, with sample values: a schema must encode each of them and decode the same value."""

from typing import Any, Final

_TIME_MS: Final = 1_700_000_000_000
# No number here is exact as a 32-bit float, and no offset fits an Avro int.
_OFFSET: Final = 2**40

Samples = dict[str, list[Any]]
"""Values that each field may have."""

IDENTITY: Final = ("key", "group", "time")
"""Stand for the input's own names of these."""

_IDENTITY: Final[Samples] = {"key": ["K1"], "group": ["G1"], "time": [_TIME_MS]}
_SOURCE: Final[Samples] = {"source_partition": [7], "source_offset": [_OFFSET]}
_READING: Final[Samples] = {"source_topic_id": ["AAAAAAAAQACAAAAAAAAAAA", ""], **_SOURCE}
_MODEL: Final[Samples] = {"model_name": ["model"], "model_version": ["3"]}
_CONTRIBUTION: Final = {"feature": "f", "value": 1.1, "per": None, "contribution": -0.2}

SAMPLES: Final[dict[str, Samples]] = {
    "predictions": {
        **_IDENTITY,
        "probability": [0.1],
        "positive": [True, False],
        "threshold": [0.6],
        **_MODEL,
        "readings_in_window": [60],
        "imputed": [["a", "b"], []],
        "masked": [["a", "b"], []],
        **_READING,
        "scored_at": [_TIME_MS],
    },
    "alarms": {
        **_IDENTITY,
        "alarm_id": ["5d1c7a3e-0000-5000-8000-000000000000"],
        "state": ["ACTIVE", "RTN"],
        "priority": ["high"],
        "onset_ts": [_TIME_MS],
        "probability": [0.1],
        "peak_probability": [0.7],
        "contributions": [[_CONTRIBUTION, _CONTRIBUTION | {"value": None, "per": "p"}], []],
        "other_contributions": [0.3],
        "bias": [-2.1],
        **_MODEL,
        **_READING,
    },
    "alarm_state": {
        **_IDENTITY,
        "state": ["ACTIVE", "NORMAL"],
        "priority": ["high", ""],
        "alarm_id": ["5d1c7a3e-0000-5000-8000-000000000000", ""],
        "pending_since_ts": [_TIME_MS, None],
        "clearing_since_ts": [_TIME_MS, None],
        "onset_ts": [_TIME_MS, None],
        "probability": [0.1],
        "peak_probability": [0.7],
        "model_version": ["3"],
    },
    "sketches": {
        "site": ["S1"],
        "hour_ts": [_TIME_MS],
        **_MODEL,
        "reference": ["digest"],
        "readings": [_OFFSET],
        "keys": [_OFFSET],
        "columns": [{"c": [_OFFSET, 0]}, {}],
        "missing": [{"s": _OFFSET}],
        "schemas": [{"id": _OFFSET}],
        **_SOURCE,
    },
    "events": {
        "event_id": ["5d1c7a3e-0000-5000-8000-000000000000"],
        "site": ["S1"],
        "kind": ["drift"],
        "subject": ["c"],
        "state": ["ACTIVE", "RTN"],
        "ts": [_TIME_MS],
        "value": [0.1],
        "limit": [0.6],
        "psi": [0.3, None],
        "q_value": [0.3, None],
        **_MODEL,
        "message": ["words"],
    },
    "labels": {
        "label_id": ["5d1c7a3e-0000-5000-8000-000000000000"],
        "key": ["K1"],
        "kind": ["event", "false_alarm", "withdrawn"],
        "ts": [_TIME_MS],
        "labelled_at": [_TIME_MS],
        "by": ["name", None],
        "note": ["words", None],
    },
    "shadow": {
        **_IDENTITY,
        "model_name": ["model"],
        "champion_version": ["3"],
        "challenger_version": ["4"],
        "champion_probability": [0.1],
        "challenger_probability": [0.1],
        "champion_positive": [True, False],
        "challenger_positive": [True, False],
        "champion_alarm": ["ACTIVE", "RTN", ""],
        "challenger_alarm": ["ACTIVE", "RTN", ""],
        **_SOURCE,
    },
}
OPTIONAL: Final = frozenset({"group", "positive", "threshold", "readings_in_window", "imputed", "masked", "scored_at"})
"""Fields that a columnar schema may omit, as no command reads them back."""

COLUMNAR: Final = frozenset({"predictions", "shadow"})
"""Roles that are encoded in columns: every field of their schemas must be one that is written."""

MAPPED: Final = frozenset({"predictions", "alarms", "alarm_state"})
"""Roles in which `outputs.fields` renames."""

TIMES: Final = frozenset(
    {"time", "ts", "onset_ts", "pending_since_ts", "clearing_since_ts", "hour_ts", "scored_at", "labelled_at"}
)
"""Fields that are times, in ms since 1970."""
