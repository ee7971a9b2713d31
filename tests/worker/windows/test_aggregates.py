"""Aggregates against plain pandas, on any stream, however it is cut into batches and wherever the worker restarts."""

import itertools
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.times import DAY_MS, HOUR_MS, MINUTE_MS
from worker.windows.aggregate_state import AggregateState
from worker.windows.aggregates import Aggregate, Kind, Layout, Selection

ANY, AMOUNT = Selection(), Selection("amount")
LOGIN, WATCHED = Selection(None, (("event", "login"),)), Selection("amount", (("event", "watch"),))
WINDOWS = (5 * MINUTE_MS, 14 * DAY_MS, 90 * MINUTE_MS, 7 * DAY_MS, 12 * HOUR_MS)
_ALL = [
    Aggregate(f"{kind}_{number}_{over}", kind, selection, over)
    for kind in Kind
    for number, selection in enumerate((ANY, AMOUNT, LOGIN, WATCHED))
    for over in WINDOWS
    if selection.field or kind in {Kind.COUNT, Kind.DISTINCT_DAYS, Kind.TIME_SINCE_LAST}
]
AGGREGATES = tuple(_ALL[::3])
LAYOUT = Layout(AGGREGATES)
START = 20_000 * DAY_MS


def selected(events: list[str], amounts: np.ndarray) -> np.ndarray:
    """What the scorer hands to the kernel: a column for each selection."""
    column = {
        ANY: np.ones(len(events)),
        AMOUNT: amounts,
        LOGIN: np.where([e == "login" for e in events], 1.0, np.nan),
        WATCHED: np.where([e == "watch" for e in events], amounts, np.nan),
    }
    return np.column_stack([column[s] for s in LAYOUT.selections])


def pandas_value(past: pd.DataFrame, a: Aggregate) -> float:
    """The aggregate after the last of these readings of one key."""
    newest, bucket = past.time.max(), past.time // a.bucket_ms
    chosen = np.logical_and.reduce([past[field] == value for field, value in a.selection.where] or [past.time > 0])
    if a.selection.field is not None:
        chosen &= past[a.selection.field].notna()
    if a.kind == Kind.TIME_SINCE_LAST:
        elapsed = newest - past.time[:-1][chosen[:-1]].max()
        return float(elapsed / 1000) if elapsed < a.over_ms else np.nan
    inside = past[chosen & (bucket > newest // a.bucket_ms - a.over_ms // a.bucket_ms)]
    if a.kind == Kind.DISTINCT_DAYS:
        return float(pd.to_datetime(inside.time, unit="ms").dt.floor("D").nunique())
    if a.kind == Kind.COUNT:
        return len(inside)
    values = inside[a.selection.field]
    if a.kind in (Kind.MIN, Kind.MAX):
        return float(values.agg(a.kind.value))
    # The order in which floats are added decides about the last bits: by arrival within a bucket, then bucket by bucket
    # in the order of their places, and the newest bucket at the end.
    (places,) = (ring.buckets for ring in LAYOUT.rings if ring.bucket_ms == a.bucket_ms)
    added = {number: reduce(add, values[bucket == number], 0.0) for number in bucket[inside.index].unique()}
    now = added.pop(newest // a.bucket_ms, 0.0)
    total = reduce(add, (added[number] for number in sorted(added, key=lambda number: number % places)), 0.0) + now
    np.testing.assert_allclose(total, values.sum(), rtol=1e-9, atol=1e-9)
    return float(total if a.kind == Kind.SUM else total / len(values) if len(values) else np.nan)


def pandas_reference(frame: pd.DataFrame) -> np.ndarray:
    out = []
    for place, key in enumerate(frame.key):
        past = frame[: place + 1][frame.key[: place + 1] == key]
        silent = np.flatnonzero(past.clock.diff() >= LAYOUT.longest_ms)
        past = past[silent[-1] :] if len(silent) else past
        out.append([pandas_value(past, a) for a in AGGREGATES])
    return np.array(out, np.float64)


amount = st.one_of(st.none(), st.floats(-1e6, 1e6, allow_subnormal=False), st.sampled_from([0.0, 0.1, 1e16]))
step = st.sampled_from(
    [
        1000,
        1000,
        61_000,
        11 * MINUTE_MS,
        HOUR_MS,
        5 * HOUR_MS,
        DAY_MS,
        3 * DAY_MS,
        13 * DAY_MS,
        14 * DAY_MS,
        15 * DAY_MS,
    ]
)
# How far a reading's own time is from the time at which the stream is, ms: late, far too late, ahead.
off = st.sampled_from([0, 0, 0, 0, -1, -59_000, -2 * HOUR_MS, -DAY_MS, -6 * DAY_MS, -20 * DAY_MS, 200_000])
reading = st.tuples(st.integers(0, 2), step, off, st.sampled_from(["login", "watch", "other"]), amount)
streams = st.lists(reading, min_size=1, max_size=24)


def columns(readings: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(readings, columns=["key", "step", "off", "event", "amount"])
    broker_ts = START + frame.step.cumsum()
    frame["ts"] = broker_ts + frame.off
    frame["clock"] = frame.ts.clip(upper=broker_ts).cummax()
    frame["time"] = frame.ts.clip(upper=frame.clock)
    frame["amount"] = frame.amount.astype(float)
    frame["place"] = range(len(frame))
    return frame


class Topic:
    """The compacted topic: what restores the aggregates, by key, ring and bucket."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, int, int], Any] = {}

    def write(self, staged: Any, keys: list[int]) -> None:
        for ring, gone in enumerate(staged.gone):
            for key, number in zip(gone.key.tolist(), gone.number.tolist(), strict=True):
                del self.records[keys[key], ring, number]
        for ring, put in enumerate(staged.written):
            for i, (key, number) in enumerate(zip(put.key.tolist(), put.number.tolist(), strict=True)):
                self.records.pop((keys[key], ring, number), None)
                times = staged.times.take(put.key[i : i + 1])
                self.records[keys[key], ring, number] = put.content[i : i + 1].copy(), times

    def restore(self) -> tuple[AggregateState, dict[int, int]]:
        state = AggregateState(LAYOUT)
        keys = list(dict.fromkeys(key for key, _, _ in self.records))
        slots = dict(zip(keys, state.allocate(len(keys)).tolist(), strict=True))
        for (key, ring, number), (content, times) in self.records.items():
            state.restore(ring, np.array([slots[key]]), np.array([number]), content, times)
        return state, slots


def run(frame: pd.DataFrame, cuts: list[int], restarts: list[int], again: int = 0) -> np.ndarray:
    """Aggregates of a stream. cuts: where batches end; restarts: after which of them; again: readings that repeat."""
    state, slots, topic = AggregateState(LAYOUT), dict[int, int](), Topic()
    values = selected(frame.event.tolist(), frame.amount.to_numpy())
    ts, clock, offset = frame.ts.to_numpy(), frame.clock.to_numpy(), frame.place.to_numpy()
    bounds = sorted({0, len(frame), *(c % (len(frame) + 1) for c in cuts)})
    out = np.full((len(frame), len(AGGREGATES)), np.nan)
    for batch, (a, b) in enumerate(itertools.pairwise(bounds)):
        if batch in restarts:
            state, slots = topic.restore()
        a = max(a - again, 0) if batch in restarts else a  # noqa: PLW2901
        keys = frame.key[a:b].tolist()
        new = {key: -1 - i for i, key in enumerate(dict.fromkeys(k for k in keys if k not in slots))}
        slot = np.array([slots.get(key, new.get(key)) for key in keys])
        state.stage(slot, offset[a:b], ts[a:b], clock[a:b], values[a:b]).features  # noqa: B018 - an aborted batch
        staged = state.stage(slot, offset[a:b], ts[a:b], clock[a:b], values[a:b])
        fresh = offset[a:b] >= bounds[batch]
        out[a:b][fresh] = staged.features[fresh]
        topic.write(staged, [keys[row] for row in staged.row])
        slots |= dict(zip(new, state.merge(staged).tolist(), strict=True))
        for key in [*slots]:
            if state.expired(np.array([slots[key]]), int(clock[b - 1]))[0]:
                for ring, kept in enumerate(state.buckets(np.array([slots[key]]))):
                    for number in kept.number.tolist():
                        del topic.records[key, ring, number]
                state.free([slots.pop(key)])
        assert len(topic.records) == sum(len(kept.key) for kept in state.buckets(np.array([*slots.values()], int)))
    return out


@pytest.mark.slow  # hundreds of examples, each beside pandas
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams, st.lists(st.integers(0, 40), max_size=6))
def test_aggregates_equal_pandas_in_and_out_of_order(readings: list[Any], cuts: list[int]) -> None:
    frame = columns(readings)

    np.testing.assert_array_equal(run(frame, cuts, []), pandas_reference(frame))


@pytest.mark.slow  # hundreds of examples, each beside pandas
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(reading, min_size=1, max_size=120),
    st.lists(st.integers(0, 120), max_size=12),
    st.lists(st.integers(1, 12), max_size=4),
    st.integers(0, 10),
)
def test_batches_and_restarts_change_no_bit(
    readings: list[Any], cuts: list[int], restarts: list[int], again: int
) -> None:
    frame = columns(readings)

    np.testing.assert_array_equal(run(frame, cuts, restarts, again), run(frame, [], []))


@pytest.mark.parametrize("start", [-(2**53), -(2**45), -1500, 2**45, 2**53 - 2000])
def test_any_time_that_passes_counts(start: int) -> None:
    """Also where the numbers of buckets do not fit 32 bits."""
    minute = Layout(
        (Aggregate("n", Kind.COUNT, ANY, MINUTE_MS), Aggregate("since", Kind.TIME_SINCE_LAST, ANY, MINUTE_MS))
    )
    state, slot, found = AggregateState(minute), np.array([-1]), []
    for offset in range(3):
        ts = np.array([start + offset * 1000])
        staged = state.stage(slot, np.array([offset]), ts, ts, np.ones((1, 1)))
        found.append(staged.features[0].tolist())
        slot = np.array([*state.merge(staged), *slot])[:1]

    np.testing.assert_array_equal(found, [[1, np.nan], [2, 1], [3, 1]])


def test_a_batch_without_readings_adds_nothing() -> None:
    nothing = np.empty(0, np.int64)
    state = AggregateState(LAYOUT)
    staged = state.stage(nothing, nothing, nothing, nothing, np.empty((0, len(LAYOUT.selections))))

    assert staged.features.shape == (0, len(AGGREGATES))
    assert not any(len(put.key) for put in staged.written)
    assert len(state.merge(staged)) == 0
