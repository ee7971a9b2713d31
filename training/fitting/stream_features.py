"""The features of recorded events, as a worker computes them: its own stages run over the columns of a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Float, Int
from common.errors import UserError
from schemas.text_column import NullableText, TextColumn
from worker.config.features import Feature
from worker.config.pipeline import Pipeline
from worker.config.task import Task
from worker.model.contract import Features, Model, ModelInput, Prediction
from worker.score.batch import columns_only
from worker.score.columns import GivenReadings
from worker.score.readings import Readings
from worker.score.scorer import Scorer
from worker.windows.partition import Partition

_CHUNK = 8192  # rows at a time: bounds memory, changes no bit of the result


def stream_features(pipeline: Pipeline, events: pd.DataFrame) -> pd.DataFrame:
    """What the model of a pipeline gets for each event.

    Args:
        pipeline: declares the features, and which fields are key and time.
        events: a column for each field of the record that features need; missing values are null. The time is in ms or
            a pandas timestamp. The oldest event comes first.

    Returns:
        A column for each feature, and a row, with the index of its event, for each event that a worker would score:
        all but those that it would drop as duplicates or make dead letters.

    Raises:
        UserError: the pipeline declares no features, or the events have no such column or are not in order of time.
    """
    features, time = pipeline.features, pipeline.input.time_field
    if features is None or time is None:
        raise UserError(f"pipeline {pipeline.name}: declare `features` and `input.time` in its file")
    if lacking := sorted({*_needed(pipeline, features)} - {*events.columns}):
        raise UserError(f"the events have no column {', '.join(lacking)}, which features of {pipeline.name} need")
    ts = _milliseconds(events[time])
    if (np.diff(ts) < 0).any():
        raise UserError(f"sort the events by {time} first")
    source, partition = GivenReadings(), Partition(0, 0, 0)
    scorer = Scorer(source, pipeline, _model(pipeline, features), None)
    scorer.alarms.assign(0, {})
    parts = []
    for start in range(0, max(len(events), 1), _CHUNK):
        rows = slice(start, start + _CHUNK)
        source.readings = _readings(pipeline, events.iloc[rows], ts[rows])
        count = len(source.readings.ts)
        offset = np.arange(start, start + count)
        keys = [source.readings.key.raw(row) for row in range(count)]
        batch = columns_only(keys, np.zeros(count, np.int64), offset, ts[rows])
        outcome = scorer.process(batch, {0: partition})
        scorer.merge(outcome, {0: partition})
        scored = outcome.scored
        index = events.index[start + scored.readings.row]
        columns = scored.features.by_name(scorer.model.numeric).items()
        # Texts as the worker gives them to a model: objects, and None where missing.
        parts.append(pd.DataFrame({name: pd.Series(each, index, each.dtype) for name, each in columns}))
    return pd.concat(parts)[[feature.name for feature in features]]


def _needed(pipeline: Pipeline, features: Sequence[Feature]) -> list[str]:
    selected = [name for feature in features for name in feature.where]
    fields = [feature.field for feature in features if feature.field is not None]
    return [*pipeline.input.identity_fields.values(), *selected, *fields]


def _readings(pipeline: Pipeline, events: pd.DataFrame, ts: Int) -> Readings:
    source = pipeline.input
    values = np.column_stack([_numbers(events, name) for name in source.sensors()] or [np.empty((len(events), 0))])
    texts = {name: _texts(events, name) for name in source.categories()}
    key, group = (_texts(events, name or "").text for name in (source.key_field, source.group_field))
    return Readings(np.arange(len(events)), key, group, ts, values, ~np.isnan(values), texts)


def _numbers(events: pd.DataFrame, name: str) -> Float:
    if name not in events:
        return np.full(len(events), np.nan)
    return pd.to_numeric(events[name]).to_numpy(np.float64, na_value=np.nan)


def _texts(events: pd.DataFrame, name: str) -> NullableText:
    given = events[name].tolist() if name in events else [None] * len(events)
    present = np.array([not pd.isna(each) for each in given], np.bool_)
    column = TextColumn.of([str(each).encode() if there else b"" for each, there in zip(given, present, strict=True)])
    return NullableText(column, present)


def _milliseconds(time: "pd.Series[Any]") -> Int:
    if pd.api.types.is_datetime64_any_dtype(time):
        time = time.dt.as_unit("ms")
    return np.asarray(time.astype(np.int64), np.int64)


class _Unasked(Model):
    """It takes the features, and what it predicts is not looked at."""

    def predict(self, features: Features) -> Prediction:
        """See `Model.predict`."""
        zeros = np.zeros(len(features))
        label = zeros.astype(np.int64) if self.task is Task.MULTICLASS else None
        return Prediction(zeros, label, np.zeros((len(features), 1)))


def _model(pipeline: Pipeline, features: Sequence[Feature]) -> Model:
    inputs = tuple(ModelInput(f.name, "string" if f.kind == "category" else "double", required=False) for f in features)
    task = pipeline.expected_task
    classes = ("any",) if task is Task.MULTICLASS else ()
    return _Unasked(name="none", version="", digest="", origin="", task=task, inputs=inputs, classes=classes)
