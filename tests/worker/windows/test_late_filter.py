"""Which readings are accepted, against a plain reading of the rules, on streams that no clock of today would send."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.arrays import NEVER
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import KeyedState, lateness_ms, rebuild_span_ms
from worker.windows.late_filter import MOST, content_of

SPAN_MS = 900_000
SPEC = FeatureSpec(
    sensors=("temperature", "gas"),
    differences=("gas",),
    rolling=("temperature",),
    windows=(2, 5),
    max_span_ms=SPAN_MS,
)
START_MS = 1_700_000_000_000
LATENESS_MS = SPAN_MS // 2

# What a sender does next: time passes, a clock jumps, something is sent again, or at the same time with other content.
steps = st.sampled_from([10_000, 10_000, 10_000, 1_000, 100_000, 300_000, LATENESS_MS, SPAN_MS, 2 * SPAN_MS])
action = st.one_of(
    st.tuples(st.just("on time"), steps),
    st.tuples(st.just("on time"), steps),
    st.tuples(st.just("ahead"), st.sampled_from([20_000, 299_000, LATENESS_MS, 86_400_000])),
    st.tuples(st.just("behind"), st.sampled_from([1, 30_000, 400_000, LATENESS_MS, 3_600_000])),
    st.tuples(st.just("again"), st.integers(1, 12)),
    st.tuples(st.just("same time"), st.just(0)),
)
stream = st.lists(st.tuples(st.integers(0, 1), action), min_size=1, max_size=50)


@dataclass
class Stream:
    """Readings of two keys in their order of arrival."""

    key: np.ndarray
    ts: np.ndarray
    clock: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, actions: list[Any], *, stamped: bool = False) -> "Stream":
        """`stamped`: no time counts as stream time before it has come."""
        sent: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
        rows, now = [], START_MS
        for n, (key, (what, by)) in enumerate(actions):
            if what == "again" and sent[key]:
                some = sent[key][-by:]
            else:
                now += by if what == "on time" else 0
                times = {"ahead": now + by, "behind": now - by, "same time": sent[key][-1][0] if sent[key] else now}
                some = [(times.get(what, now), n)]
                sent[key] += some
            rows += [(key, *reading, now) for reading in some]
        keys, ts, content, come = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        values = np.stack([content % 7 + 20.0, np.where(content % 5 == 0, np.nan, content)], axis=1)
        return cls(keys, ts, np.maximum.accumulate(np.minimum(ts, come) if stamped else ts), values)

    def part(self, rows: slice) -> tuple[np.ndarray, ...]:
        return self.key[rows], self.ts[rows], self.clock[rows], self.values[rows]


def by_the_rules(stream: Stream) -> list[str]:
    """The verdicts, from the rules' own words: slow, and with nothing remembered but the stream itself."""
    verdicts = [""] * len(stream.key)
    for key in set(stream.key.tolist()):
        rows = np.flatnonzero(stream.key == key)
        ts, clock = stream.ts[rows].tolist(), stream.clock[rows].tolist()
        content = [repr(v) for v in stream.values[rows].tolist()]
        too_old: list[bool] = []
        for j, row in enumerate(rows.tolist()):
            near = [i for i in range(j) if clock[i] > clock[j] - LATENESS_MS][-MOST * SPEC.max_readings :]
            descents = (n for n in range(1, len(near)) if ts[near[n]] <= ts[near[n - 1]])
            ascending = next(descents, len(near))
            floor = ts[near[ascending - SPEC.max_readings]] if ascending >= SPEC.max_readings else NEVER
            remembered = near[max(ascending - SPEC.max_readings, 0) :]
            times = sorted({(ts[i], content[i]) for i in remembered}, reverse=True)
            confirmed = times[1][0] if len(times) > 1 else NEVER
            too_old.append(ts[j] < floor or ts[j] <= confirmed - LATENESS_MS)
            same = (i for i in remembered if (ts[i], content[i]) == (ts[j], content[j]))
            again = any(not too_old[i] for i in same)
            verdicts[row] = "duplicate" if again else "late" if too_old[j] else "accepted"
    return verdicts


def run(stream: Stream, bounds: list[int], since: int = 0) -> dict[int, tuple[Any, ...]]:
    """By row, its verdict, and where it is accepted its features, its window and how far timers move."""
    state = KeyedState(SPEC)
    slots = state.allocate(2)
    outcome: dict[int, tuple[Any, ...]] = {}
    for a, b in itertools.pairwise(sorted({since, len(stream.key), *(b for b in bounds if b > since)})):
        key, ts, clock, values = stream.part(slice(a, b))
        staged = state.stage(slots[key], ts, clock, values)
        outcome |= {a + row: ("duplicate",) for row in staged.duplicate.tolist()}
        outcome |= {a + row: ("late",) for row in staged.late.tolist()}
        features = staged.features()
        for n, row in enumerate(staged.row.tolist()):
            outcome[a + row] = "accepted", features[n].tobytes(), int(staged.in_window[n]), int(staged.shift[n])
        state.merge(staged)
    return outcome


@pytest.mark.slow  # a hundred examples
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream, st.lists(st.integers(1, 200), max_size=8), st.booleans())
def test_verdicts_are_those_of_the_rules_however_the_stream_is_cut(
    actions: list[Any], cuts: list[int], stamped: bool
) -> None:
    made = Stream.of(actions, stamped=stamped)
    outcome = run(made, [c for c in cuts if c < len(made.key)])
    assert [outcome[row][0] for row in range(len(made.key))] == by_the_rules(made)
    assert outcome == run(made, [])


@pytest.mark.slow  # a hundred examples
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream, stream, st.integers(0, 200), st.booleans())
def test_a_rebuild_gives_the_same_verdicts_bits_and_timers(
    before: list[Any], after: list[Any], at: int, stamped: bool
) -> None:
    made = Stream.of(before + after, stamped=stamped)
    live_from = min(at, len(made.key) - 1)
    reached = made.clock[live_from - 1] if live_from else NEVER
    # The latest place at which all that came before is forgotten.
    forgotten = made.clock[:live_from] <= reached - 2 * rebuild_span_ms(SPEC, LATENESS_MS)
    since = int(np.flatnonzero(np.append(True, forgotten))[-1])
    whole, rebuilt = run(made, []), run(made, [live_from], since)
    assert all(rebuilt[row] == whole[row] for row in range(live_from, len(made.key)))


def verdicts(readings: list[tuple[int, float]], spec: FeatureSpec = SPEC, others_ms: int | None = None) -> list[str]:
    """Of one key's readings, (event time after the start, value); `others_ms`: stream time that goes by at each."""
    state = KeyedState(spec, lateness_ms(spec, 300_000))
    slot = state.allocate(1)
    made, newest = [], NEVER
    for n, (ts, value) in enumerate(readings):
        newest = max(newest, START_MS + ts, START_MS + n * (others_ms or 0))
        values = np.full((1, 2), value)
        staged = state.stage(slot, np.array([START_MS + ts]), np.array([newest]), values)
        made.append("accepted" if len(staged.row) else "duplicate" if len(staged.duplicate) else "late")
        state.merge(staged)
    return made


PERIOD_MS = 10_000
HONEST = [(n * PERIOD_MS, float(n)) for n in range(600)]
LIKE_OURS = SPEC.model_copy(update={"windows": (6, 60)})


def test_a_batch_that_a_producer_sends_again_is_dropped_whole() -> None:
    batch = HONEST[:40]
    assert verdicts(batch + batch, LIKE_OURS) == ["accepted"] * 40 + ["duplicate"] * 40
    assert verdicts(batch + batch + batch, LIKE_OURS) == ["accepted"] * 40 + ["duplicate"] * 80


def test_what_is_too_old_to_tell_is_late_and_never_scored_twice() -> None:
    batch = [(n * 1000, float(n)) for n in range(200)]
    assert verdicts(batch + batch, LIKE_OURS) == ["accepted"] * 200 + ["late"] * 140 + ["duplicate"] * 60


def test_two_readings_of_one_millisecond_are_duplicates_only_with_the_same_content() -> None:
    assert verdicts([(0, 1.0), (0, 2.0), (0, 1.0), (0, 2.0), (0, 3.0)]) == [
        "accepted",
        "accepted",
        "duplicate",
        "duplicate",
        "accepted",
    ]


def test_a_late_reading_that_is_sent_again_is_late_again_and_no_duplicate() -> None:
    assert verdicts([*HONEST[:60], (-3_600_000, 1.0), (-3_600_000, 1.0)], LIKE_OURS)[-2:] == ["late", "late"]


@pytest.mark.parametrize(
    ("spec", "ahead_ms"),
    [(LIKE_OURS, 299_000), (LIKE_OURS.model_copy(update={"max_span_ms": 60_000}), 299_000), (LIKE_OURS, 86_400_000)],
    ids=["ordinary", "a span shorter than what clocks may be ahead by", "a recording's clock, a day ahead"],
)
def test_one_forged_reading_makes_no_honest_one_late(spec: FeatureSpec, ahead_ms: int) -> None:
    for first in (0, 1, 30):
        readings = HONEST[:100].copy()
        readings.insert(first, (readings[first][0] + ahead_ms, -1.0))
        assert verdicts(readings, spec) == ["accepted"] * 101


def test_a_device_set_back_by_an_hour_is_heard_again_after_half_a_span_and_at_once_when_put_right() -> None:
    back = [(ts - 3_600_000 if 200 <= n < 300 else ts, value) for n, (ts, value) in enumerate(HONEST)]
    made = verdicts(back, LIKE_OURS, others_ms=PERIOD_MS)
    late = [n for n, verdict in enumerate(made) if verdict == "late"]
    assert late == list(range(200, 200 + LATENESS_MS // PERIOD_MS - 2))
    assert set(made) == {"accepted", "late"}


def test_a_device_set_back_is_heard_again_after_a_few_windows_even_where_stream_time_stands_still() -> None:
    back = [(ts - 86_400_000 if n >= 100 else ts, value) for n, (ts, value) in enumerate(HONEST)]
    assert verdicts(back, LIKE_OURS).count("late") < MOST * LIKE_OURS.max_readings


def test_a_storm_of_readings_out_of_order_is_remembered_up_to_a_bound() -> None:
    state = KeyedState(SPEC)
    slot = np.repeat(state.allocate(1), 5000)
    ts = START_MS - np.arange(5000)
    staged = state.stage(slot, ts, np.full(5000, START_MS), np.arange(10_000.0).reshape(5000, 2))
    assert len(staged.row) + len(staged.late) == 5000
    state.merge(staged)
    arrivals = state._arrivals[int(slot[0])]
    assert len(arrivals.ts) == MOST * SPEC.max_readings
    # An ordinary life afterwards leaves nothing of it.
    for n in range(50):
        now = START_MS + n * 100_000
        state.merge(state.stage(slot[:1], np.array([now]), np.array([now]), np.full((1, 2), float(n))))
    assert state._arrivals == {}
    assert not state.disordered[slot[0]]


def test_contents_differ_where_values_do() -> None:
    values = np.array([[1.0, 2.0], [2.0, 1.0], [np.nan, 1.0], [1.0, np.nan], [0.0, 1.0], [-0.0, 1.0]])
    content = content_of(values).tolist()
    assert len(set(content)) == 5
    assert content[4] == content[5]
    other_nan = (np.array([np.nan]).view(np.uint64) | np.uint64(1)).view(np.float64)
    assert content_of(np.array([[other_nan[0], 1.0]])).tolist() == [content[2]]
    many = content_of(np.random.default_rng(0).normal(25, 1, (20_000, 9)))
    assert len(np.unique(many)) > 19_990
