"""The kernel against plain pandas, on any stream, however it is cut into batches."""

import itertools
from statistics import linear_regression
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.windows.derived import AtEndOfRange, Gated, Greatest, Least, Limited, WeightedSum
from worker.windows.feature_spec import LONGEST_MS, FeatureSpec
from worker.windows.keyed_state import KeyedState
from worker.windows.span_statistics import SpanKind
from worker.windows.time_spans import Span

SPAN_MS = 900_000
SPEC = FeatureSpec(
    sensors=("temperature", "voltage", "gas"),
    differences=("temperature", "gas"),
    rolling=("temperature", "voltage"),
    windows=(3, 6, 12),
    max_span_ms=SPAN_MS,
    rates=("voltage", "gas"),
    spans=(
        Span(sensor="temperature", kind=SpanKind.RATE, over_ms=10_000),
        Span(sensor="temperature", kind=SpanKind.RATE, over_ms=300_000),
        *(Span(sensor="gas", kind=kind, over_ms=60_000) for kind in SpanKind),
    ),
    derived=(
        WeightedSum(name="speeding_up", weights={"temperature_rate_10s": 1, "temperature_rate_5min": -1}),
        WeightedSum(name="unexplained", weights={"voltage": 1, "gas": -0.25}, constant=3),
        Greatest(name="greatest", of=("temperature", "gas")),
        Least(name="least", of=("temperature", "gas")),
        Limited(name="limited", feature="temperature_rate_10s", low=-0.5, high=3),
        Limited(name="at_most", feature="gas", high=0),
        Gated(name="gated", feature="limited", where="greatest", at_least=25),
        AtEndOfRange(name="at_end", feature="temperature", low=-500, high=500),
    ),
)


def pandas_reference(frame: pd.DataFrame) -> np.ndarray:
    """Features of accepted readings of one stream by groupby and rolling: no code shared with the kernel."""
    out: dict[Any, Any] = {}
    for _, rows in frame.groupby("key"):
        start = window_starts(rows)
        sensors = rows[list(SPEC.sensors)]
        last = [sensors.iloc[s : i + 1].ffill() for i, s in enumerate(start)]
        part = pd.DataFrame({c: [w[c].iloc[-1] for w in last] for c in SPEC.sensors}, index=rows.index)
        for c in SPEC.differences:
            part[f"{c}_diff"] = [w[c].diff().iloc[-1] for w in last]
        for c in SPEC.rates:
            ts, values = rows["ts"].to_numpy(), rows[c].to_numpy()
            part[f"{c}_rate"] = [rate(ts[s : i + 1], values[s : i + 1]) for i, s in enumerate(start)]
        for c in SPEC.rolling:
            for n in SPEC.windows:
                indexer = FixedStarts(np.maximum(start, np.arange(len(rows)) - n + 1))
                rolling = rows[c].rolling(indexer, min_periods=1)
                part[f"{c}_mean_{n}"] = rolling.apply(np.nanmean, raw=True)
                part[f"{c}_std_{n}"] = rows[c].rolling(indexer, min_periods=2).apply(sample_deviation, raw=True)
        for span in SPEC.spans:
            ts, values = rows["ts"].to_numpy(), rows[span.sensor].to_numpy()
            part[span.name] = [span_of(span, ts[s : i + 1], values[s : i + 1]) for i, s in enumerate(start)]
        part["speeding_up"] = part["temperature_rate_10s"] - part["temperature_rate_5min"]
        part["unexplained"] = part["voltage"] - 0.25 * part["gas"] + 3
        part["greatest"] = part[["temperature", "gas"]].max(axis=1)
        part["least"] = part[["temperature", "gas"]].min(axis=1)
        part["limited"] = part["temperature_rate_10s"].clip(-0.5, 3)
        part["at_most"] = part["gas"].clip(upper=0)
        part["gated"] = part["limited"].where((part["greatest"] >= 25) | part["greatest"].isna(), 0)
        part.loc[part["limited"].isna() | part["greatest"].isna(), "gated"] = np.nan
        part["at_end"] = (part["temperature"] >= 500).astype(float) - (part["temperature"] <= -500)
        part.loc[part["temperature"].isna(), "at_end"] = np.nan
        out |= part[SPEC.names].T.to_dict("list")
    return np.array([out[i] for i in frame.index]).reshape(-1, len(SPEC.names))


def span_of(span: Span, ts: np.ndarray, values: np.ndarray) -> float:
    known = np.flatnonzero((ts <= ts[-1]) & ~np.isnan(values))
    inside = known[ts[known] >= ts[-1] - span.over_ms]
    if span.kind == SpanKind.RATE:
        if len(set(ts[inside])) < 2:
            last_of_each_time = {ts[i]: i for i in known}
            inside = np.array([last_of_each_time[time] for time in sorted(last_of_each_time)[-2:]], int)
        if len(inside) < 2:
            return float("nan")
        # Sums of the standard library are exact.
        return linear_regression(((ts[inside] - ts[-1]) / 1000).tolist(), values[inside].tolist()).slope
    if span.kind == SpanKind.GAP:
        times = sorted(set(ts[inside].tolist()))
        before = times[-2:-1] or [min(ts[(ts <= ts[-1]) & (ts >= ts[-1] - span.over_ms)].tolist())]
        return float(max(times[-1] - before[0], ts[-1] - times[-1]) / 1000) if times else float("nan")
    if span.kind == SpanKind.FIRST:
        earlier = inside[ts[inside] < ts[-1]]
        return float(values[earlier[np.argmin(ts[earlier])]]) if len(earlier) else float("nan")
    if len(inside) < (2 if span.kind == SpanKind.STD else 1):
        return float("nan")
    return float(
        np.std(values[inside], ddof=1) if span.kind == SpanKind.STD else getattr(np, span.kind)(values[inside])
    )


def rate(ts: np.ndarray, values: np.ndarray) -> float:
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 2 or known[-1] != len(values) - 1:
        return np.nan
    seconds = (ts[known[-1]] - ts[known[-2]]) / 1000
    return float((values[known[-1]] - values[known[-2]]) / seconds) if seconds > 0 else np.nan


def window_starts(rows: pd.DataFrame) -> np.ndarray:
    ts, clock = rows["ts"].to_numpy(), rows["clock"].to_numpy()
    recent = (ts[None, :] > ts[:, None] - SPAN_MS) & (clock[None, :] > clock[:, None] - SPAN_MS)
    first = recent.argmax(axis=1)
    bound: np.ndarray = np.maximum(first, np.arange(len(rows)) - SPEC.max_readings + 1)
    return bound


def sample_deviation(window: np.ndarray) -> float:
    return float(np.std(window[~np.isnan(window)], ddof=1))


class FixedStarts(pd.api.indexers.BaseIndexer):
    def __init__(self, start: np.ndarray) -> None:
        super().__init__()
        self.start = start

    # pandas checks for these very parameters.
    def get_window_bounds(
        self,
        num_values: int = 0,
        min_periods: int | None = None,  # noqa: ARG002
        center: bool | None = None,  # noqa: ARG002
        closed: str | None = None,  # noqa: ARG002
        step: int | None = None,  # noqa: ARG002
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.start.astype(np.int64), np.arange(1, num_values + 1, dtype=np.int64)


value = st.one_of(st.none(), st.floats(-1e3, 1e3, allow_subnormal=False), st.sampled_from([0.0, 25.0, 25.0000001]))
reading = st.tuples(
    st.integers(0, 2),
    st.sampled_from([10_000, 10_000, 10_000, 0, -30_000, 1, 400_000, SPAN_MS - 10_000, SPAN_MS, 2 * SPAN_MS]),
    st.tuples(value, value, value),
)
stream = st.lists(reading, min_size=1, max_size=60)


def columns(readings: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    keys = np.array([r[0] for r in readings])
    times = np.maximum(1_700_000_000_000 + np.cumsum([r[1] for r in readings]), 1)
    values = np.array([r[2] for r in readings], np.float64)
    return keys, times, np.maximum.accumulate(times), values


def run(readings: list[Any], cuts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    keys, ts, clock, values = columns(readings)
    state = KeyedState(SPEC)
    slots = state.allocate(3)[keys]
    features = np.full((len(keys), len(SPEC.names)), np.nan)
    verdict, in_window = np.full(len(keys), "late", object), np.zeros(len(keys), int)
    bounds = sorted({0, len(keys), *(c % (len(keys) + 1) for c in cuts)})
    for a, b in itertools.pairwise(bounds):
        staged = state.stage(slots[a:b], ts[a:b], clock[a:b], values[a:b])
        features[a + staged.row] = staged.features()
        in_window[a + staged.row] = staged.in_window
        verdict[a + staged.row], verdict[a + staged.duplicate] = "accepted", "duplicate"
        state.merge(staged)
    return features, verdict, in_window, clock


@pytest.mark.slow  # hundreds of examples, each beside pandas
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream, st.lists(st.integers(0, 60), max_size=6))
def test_features_equal_pandas_under_gaps_duplicates_and_missing_values(readings: list[Any], cuts: list[int]) -> None:
    features, verdict, in_window, clock = run(readings, cuts)
    keys, ts, _, values = columns(readings)
    frame = pd.DataFrame(values, columns=list(SPEC.sensors)).assign(key=keys, ts=ts, clock=clock)
    accepted = frame[verdict == "accepted"]
    expected = pandas_reference(accepted)
    ours = features[verdict == "accepted"]
    scale = np.nanmax(np.abs(values), initial=1.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 * scale)
    starts = np.concatenate([np.arange(len(r)) - window_starts(r) + 1 for _, r in accepted.groupby("key")])
    order = np.concatenate([r.index for _, r in accepted.groupby("key")])
    assert in_window[order].tolist() == starts.tolist()


@pytest.mark.slow  # hundreds of examples
@settings(max_examples=200, deadline=None)
@given(stream, st.lists(st.integers(0, 60), max_size=10))
def test_any_batch_split_gives_the_same_bits_and_verdicts(readings: list[Any], cuts: list[int]) -> None:
    whole, verdict, _, _ = run(readings, [])
    parts, verdict_of_parts, _, _ = run(readings, cuts)
    assert whole.tobytes() == parts.tobytes()
    assert verdict.tolist() == verdict_of_parts.tolist()


@pytest.mark.slow  # hundreds of examples
@settings(max_examples=300, deadline=None)
@given(stream, stream)
def test_a_rebuild_from_two_spans_before_gives_the_same_bits(before: list[Any], after: list[Any]) -> None:
    readings = before + after
    whole, verdict, _, clock = run(readings, [])
    due = clock[len(before)] - 2 * SPAN_MS
    # The latest place at which all that came before is forgotten.
    start = int(np.flatnonzero(np.concatenate(([True], clock[: len(before)] <= due)))[-1])
    keys, ts, _, values = columns(readings)
    state = KeyedState(SPEC)
    slots = state.allocate(3)[keys]
    rebuilt = []
    for part in (slice(start, len(before)), slice(len(before), None)):
        staged = state.stage(slots[part], ts[part], clock[part], values[part])
        rebuilt.append((staged.row + part.start, staged.features()))
        state.merge(staged)
    rows, features = rebuilt[1]
    expected = np.flatnonzero(verdict[len(before) :] == "accepted") + len(before)
    order = np.argsort(rows)
    assert rows[order].tolist() == expected.tolist()
    assert features[order].tobytes() == whole[expected].tobytes()


@pytest.mark.slow  # hundreds of examples
@settings(max_examples=200, deadline=None)
@given(stream, stream)
def test_freeing_expired_keys_changes_nothing(before: list[Any], after: list[Any]) -> None:
    readings = before + after
    whole, verdict, _, clock = run(readings, [])
    keys, ts, _, values = columns(readings)
    state = KeyedState(SPEC)
    slots = state.allocate(3)
    staged = state.stage(slots[keys[: len(before)]], ts[: len(before)], clock[: len(before)], values[: len(before)])
    state.merge(staged)
    gone = np.flatnonzero(state.expired(slots, int(clock[len(before) - 1])))
    state.free(slots[gone].tolist())
    slots[gone] = state.allocate(len(gone))
    rest = slice(len(before), None)
    staged = state.stage(slots[keys[rest]], ts[rest], clock[rest], values[rest])
    order = np.argsort(staged.row)
    expected = np.flatnonzero(verdict[rest] == "accepted")
    assert staged.row[order].tolist() == expected.tolist()
    assert staged.features()[order].tobytes() == whole[rest][expected].tobytes()


def test_chunks_lone_rows_and_a_single_sensor_give_the_same_bits() -> None:
    spec = SPEC.model_copy(update={"rolling": ("temperature",), "windows": (1, 5, 60)})
    rng = np.random.default_rng(1)
    values = rng.normal(25, 1, (2000, 3))
    values[rng.random(values.shape) < 0.02] = np.nan
    ts = 1_700_000_000_000 + np.arange(2000) * 1000
    ts[1900:] += LONGEST_MS + 1  # silent for longer than ages are kept apart
    keys = rng.integers(0, 3, 2000)

    def features(bounds: list[int]) -> np.ndarray:
        state = KeyedState(spec)
        slots = state.allocate(3)[keys]
        out = np.empty((2000, len(spec.names)))
        for a, b in itertools.pairwise(bounds):
            staged = state.stage(slots[a:b], ts[a:b], ts[a:b], values[a:b])
            out[a + staged.row] = staged.features()
            state.merge(staged)
        return out

    whole = features([0, 2000])
    assert whole.tobytes() == features([0, *range(700, 720), 1500, 1901, 1902, 2000]).tobytes()
    returned = [int(np.flatnonzero(keys[1900:] == key)[0]) + 1900 for key in range(3)]
    means = whole[returned, spec.names.index("temperature_mean_60")]
    np.testing.assert_array_equal(means, values[returned, 0])


def test_a_device_whose_clock_lags_still_has_a_window() -> None:
    state = KeyedState(SPEC)
    slots = state.allocate(2)
    hour = 3_600_000
    for n in range(5):
        now = 1_700_000_000_000 + n * 10_000
        ts = np.array([now, now - hour])
        staged = state.stage(slots, ts, np.array([now, now]), np.full((2, 3), 1.0))
        assert staged.in_window.tolist() == [n + 1, n + 1]
        state.merge(staged)


def test_a_reading_from_the_future_takes_one_place_in_the_windows_after_it_and_shortens_none() -> None:
    state = KeyedState(SPEC)
    slot, now, ahead = state.allocate(1), 1_700_000_000_000, 2 * SPAN_MS
    windows = []
    for n in range(5):
        for ts in (now + n * 10_000, *([now + ahead] if n == 2 else [])):
            staged = state.stage(slot, np.array([ts]), np.array([now + n * 10_000]), np.full((1, 3), float(n)))
            windows.append(int(staged.in_window[0]))
            state.merge(staged)
    # The forged one itself sees nothing of its span.
    assert windows == [1, 2, 3, 1, 5, 6]
    in_order = (0, 10_000, 20_000, ahead, 30_000, 40_000)
    assert state.window(int(slot[0]))["ts"] == [now + later for later in in_order]
