"""The fields of predictions: name, Avro type, meaning, and what the value is taken from."""

from typing import Any, Final

import numpy as np

from schemas.columnar_encoder import Flags, Nullable, NumberMap
from schemas.text_column import TextColumn
from worker.alarms.rules import NOT_ASSESSABLE
from worker.config.output_fields import MODEL, MS, SOURCE, TEXTS, TIME, TOPIC_ID, WHO, Fields, OutputField, nullable
from worker.config.task import Task


def _or_null(number: float | None) -> Nullable:
    return Nullable(np.array([number or 0.0]), np.array([number is not None]))


def _classes(outcome: Any) -> TextColumn:
    names = TextColumn.of([name.encode() for name in outcome.model.classes])
    return names.take(outcome.scored.prediction.label)


def _reasons(outcome: Any) -> Nullable:
    declared, reason = outcome.model.assessable, outcome.scored.reason
    texts = [text.encode() for text in (() if declared is None else declared.reasons)]
    return Nullable(TextColumn.of([b"", *texts]).take(reason), reason > 0)


_BINARY: Final = frozenset({Task.BINARY})
_MULTICLASS: Final = frozenset({Task.MULTICLASS})
_REGRESSION: Final = frozenset({Task.REGRESSION})

PREDICTION: Final[Fields] = {
    "key": OutputField(*WHO["key"][:2], lambda s: s.outcome.scored.readings.key),
    "group": OutputField(*WHO["group"][:2], lambda s: s.outcome.scored.readings.group, optional=True),
    "time": OutputField(*WHO["time"][:2], lambda s: s.outcome.scored.readings.ts),
    "predicted_class": OutputField(
        "string", "The most probable class.", lambda s: _classes(s.outcome), tasks=_MULTICLASS
    ),
    "value": OutputField(
        "double",
        "The predicted value, in the target's unit.",
        lambda s: s.outcome.scored.probability,
        tasks=_REGRESSION,
    ),
    "error_band": OutputField(
        nullable("double"),
        "Mean absolute error of the model in its test data, in the target's unit; null if it is not known.",
        lambda s: _or_null(s.outcome.model.error_band),
        optional=True,
        tasks=_REGRESSION,
    ),
    "probability": OutputField(
        "double",
        "Probability, 0 to 1, as the model gives it: of the positive class, or of the most probable one.",
        lambda s: s.outcome.scored.probability,
        tasks=_BINARY | _MULTICLASS,
    ),
    "probabilities": OutputField(
        {"type": "map", "values": "double"},
        "Probability of each class.",
        lambda s: NumberMap(s.outcome.scored.prediction.probabilities, s.outcome.model.classes),
        examples=({"a": 0.1, "b": 0.9},),
        optional=True,
        tasks=_MULTICLASS,
    ),
    "positive": OutputField(
        "boolean",
        "Whether the probability is at or above the threshold, and the reading is assessable.",
        lambda s: s.outcome.positive,
        optional=True,
        tasks=_BINARY,
    ),
    "threshold": OutputField(
        "double",
        "Probability from which a reading counts as positive.",
        lambda s: s.outcome.threshold,
        optional=True,
        tasks=_BINARY,
    ),
    NOT_ASSESSABLE: OutputField(
        nullable("string"),
        "Why the model cannot judge the reading; null where it can.",
        lambda s: _reasons(s.outcome),
        optional=True,
    ),
    "model_name": OutputField(*MODEL["model_name"][:2], lambda s: s.outcome.model.name),
    "model_version": OutputField(*MODEL["model_version"][:2], lambda s: s.outcome.model.version),
    "readings_in_window": OutputField(
        "int", "Readings in the key's window, this one included.", lambda s: s.outcome.scored.in_window, optional=True
    ),
    "imputed": OutputField(
        TEXTS,
        "Fields that were missing and filled from the window.",
        lambda s: Flags(s.outcome.scored.imputed, s.sensors),
        optional=True,
    ),
    "masked": OutputField(
        TEXTS,
        "Fields whose value was not finite or outside its range, and counts as missing.",
        lambda s: Flags(s.outcome.scored.masked, (*s.sensors, *s.outcome.scored.readings.categories)),
        optional=True,
    ),
    "source_topic_id": OutputField("string", TOPIC_ID, lambda s: s.topic_id),
    "source_partition": OutputField(*SOURCE["source_partition"][:2], lambda s: s.outcome.scored.origin.partition),
    "source_offset": OutputField(*SOURCE["source_offset"][:2], lambda s: s.outcome.scored.origin.offset),
    "scored_at": OutputField(
        TIME, f"Clock of the worker when it scored the reading, {MS}.", lambda s: s.now_ms, optional=True
    ),
}
"""All values that a prediction may carry; its schema says which."""
