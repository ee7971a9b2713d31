"""The features of recorded events as a worker computes them: by the same kernel, in order of time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.arrays import Float, Int
from common.errors import UserError
from worker.config.features import Feature
from worker.windows.aggregate_state import AggregateState
from worker.windows.aggregates import Layout, Selection

_CHUNK = 8192  # rows at a time: bounds memory, changes no bit of the result


def stream_features(features: Sequence[Feature], events: pd.DataFrame, *, key: str, time: str) -> pd.DataFrame:
    """What the model gets for each event.

    Args:
        features: resolved, of a pipeline file; values, categories and aggregates.
        events: by time, the oldest first.
        key: column of the key.
        time: column of the event time, ms.

    Raises:
        UserError: a feature is of another kind, or the events are not by time.
    """
    if not events[time].is_monotonic_increasing:
        raise UserError(f"sort the events by {time} first")
    if other := [feature.name for feature in features if feature.windowed and feature.as_aggregate() is None]:
        raise UserError(f"{', '.join(other)}: only values, categories and aggregates are computed here")
    plain = {f.name: events[f.field] for f in features if not f.windowed and f.field is not None}
    aggregates = tuple(aggregate for f in features if (aggregate := f.as_aggregate()) is not None)
    if aggregates:
        layout = Layout(aggregates)
        computed = _computed(layout, events, events[key].factorize()[0], events[time].to_numpy(np.int64))
        plain |= {a.name: pd.Series(computed[:, i], events.index) for i, a in enumerate(aggregates)}
    return pd.DataFrame({feature.name: plain[feature.name] for feature in features}, index=events.index)


def _computed(layout: Layout, events: pd.DataFrame, key: Int, ts: Int) -> Float:
    values = np.column_stack([_selected(selection, events) for selection in layout.selections])
    state = AggregateState(layout)
    slots = state.allocate(int(key.max()) + 1 if len(key) else 0)
    parts = [np.empty((0, len(layout.aggregates)))]
    for start in range(0, len(ts), _CHUNK):
        rows = slice(start, start + _CHUNK)
        staged = state.stage(slots[key[rows]], np.arange(len(ts))[rows], ts[rows], ts[rows], values[rows])
        parts.append(staged.features)
        state.merge(staged)
    return np.concatenate(parts)


def _selected(selection: Selection, events: pd.DataFrame) -> Float:
    """A selection's value of each event, NaN where it is not selected."""
    value = np.ones(len(events)) if selection.field is None else events[selection.field].to_numpy(np.float64)
    for field, wanted in selection.where:
        value = np.where(events[field] == wanted, value, np.nan)
    return value
