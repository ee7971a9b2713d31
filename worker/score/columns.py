"""Readings that need no columnar decoding: from records that are decoded already, or columns from the start."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.arrays import Bool, Float, Int
from schemas.text_column import NullableText, TextColumn
from worker.config.inputs_outputs import Input
from worker.score.readings import Readings, Rejection


class GivenReadings:
    """A decode stage that decodes nothing.

    Attributes:
        readings: what it returns.
    """

    readings: Readings

    def __call__(self, _values: object, _framed: object) -> tuple[Readings, list[Rejection]]:
        """The readings, whatever the messages are."""
        return self.readings, []


def columns_of(source: Input, row: Int, records: Sequence[Mapping[str, Any]]) -> Readings:
    """Records as columns.

    Args:
        source: names the fields.
        row: their rows in the batch, shape [n].
        records: n records with all fields of `source.reader_schema`, of its types. Times are int milliseconds.
    """
    key, group = (_texts(records, field) for field in (source.key_field, source.group_field))
    time = source.time_field
    ts = np.array([record[time] for record in records] if time else np.zeros(len(records)), np.int64)
    sensors = source.sensors()
    values: Float = np.empty((len(records), len(sensors)))
    present: Bool = np.empty(values.shape, np.bool_)
    for at, name in enumerate(sensors):
        column = [record[name] for record in records]
        values[:, at] = _numbers(column, source.rules(name).avro)
        present[:, at] = [value is not None for value in column]
    categories = {
        name: NullableText(_texts(records, name), np.array([record[name] is not None for record in records], np.bool_))
        for name in source.categories()
    }
    return Readings(row, key, group, ts, values, present, categories)


def _texts(records: Sequence[Mapping[str, Any]], field: str | None) -> TextColumn:
    return TextColumn.of([(record[field] or "").encode() if field else b"" for record in records])


def _numbers(column: list[Any], avro: str) -> Float:
    found: Float = np.array(column, np.float64)  # None becomes NaN
    if avro != "float":
        return found
    with np.errstate(over="ignore"):
        return found.astype(np.float32).astype(np.float64)
