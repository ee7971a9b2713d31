"""The alarm's state machine: setpoint, deadband, on-delay, off-delay, priorities."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.alarms.alarms import Alarms
from worker.alarms.state_machine import ACTIVE, IDLE, RTN, AlarmPolicy, AlarmState, step

POLICY = AlarmPolicy(
    setpoint=0.5,
    deadband=0.1,
    on_delay_ms=20_000,
    off_delay_ms=30_000,
    priorities={"HIGH": 0.5, "CRITICAL": 0.9},
)


def play(*probabilities: float, policy: AlarmPolicy = POLICY) -> list[tuple[int, str, str]]:
    """Transitions of a key that reports each 10 s: (reading number, kind, priority)."""
    state, made = IDLE, []
    for n, p in enumerate(probabilities):
        state, kind = step(policy, state, "m", n * 10_000, p)
        if kind:
            made.append((n, kind, state.priority))
    return made


def test_raised_once_the_on_delay_is_over() -> None:
    assert play(0.1, 0.6, 0.6, 0.6, 0.6) == [(3, ACTIVE, "HIGH")]


def test_a_single_reading_below_the_setpoint_starts_the_on_delay_again() -> None:
    assert play(0.6, 0.6, 0.49, 0.6, 0.6, 0.6) == [(5, ACTIVE, "HIGH")]


def test_returns_to_normal_below_the_deadband_once_the_off_delay_is_over() -> None:
    made = play(0.6, 0.6, 0.6, 0.39, 0.39, 0.39, 0.39)
    assert [(n, kind) for n, kind, _ in made] == [(2, ACTIVE), (6, RTN)]


def test_within_the_deadband_an_alarm_stands() -> None:
    assert play(*[0.6] * 3, *[0.45] * 20) == [(2, ACTIVE, "HIGH")]


def test_rising_again_during_the_off_delay_keeps_the_alarm() -> None:
    assert play(0.6, 0.6, 0.6, 0.3, 0.3, 0.3, 0.41, 0.3, 0.3, 0.3) == [(2, ACTIVE, "HIGH")]


def test_a_higher_priority_is_published_and_never_lowered() -> None:
    assert play(0.6, 0.6, 0.6, 0.95, 0.6, 0.95) == [(2, ACTIVE, "HIGH"), (3, ACTIVE, "CRITICAL")]


def test_where_it_is_sure_enough_an_alarm_does_not_wait() -> None:
    policy = POLICY.model_copy(update={"immediate": 0.8})
    assert play(0.1, 0.8, policy=policy) == [(1, ACTIVE, "HIGH")]
    assert play(0.6, 0.95, policy=policy) == [(1, ACTIVE, "CRITICAL")]
    assert play(0.79, 0.79, 0.79, policy=policy) == [(2, ACTIVE, "HIGH")]


def test_the_identity_of_an_alarm_that_did_not_wait_is_that_of_its_onset() -> None:
    policy = POLICY.model_copy(update={"immediate": 0.8})
    waited, _ = step(POLICY, AlarmState(pending_since_ts=5, peak_probability=0.7), "m", 20_005, 0.6)
    at_once, _ = step(policy, AlarmState(pending_since_ts=5, peak_probability=0.7), "m", 10_005, 0.85)
    assert waited.alarm_id == at_once.alarm_id


def test_without_delays_every_crossing_counts() -> None:
    policy = POLICY.model_copy(update={"on_delay_ms": 0, "off_delay_ms": 0})
    assert [k for _, k, _ in play(0.6, 0.1, 0.6, policy=policy)] == [ACTIVE, RTN, ACTIVE]


def test_an_alarms_identity_comes_from_key_and_onset_alone() -> None:
    first, _ = step(POLICY, AlarmState(pending_since_ts=5, peak_probability=0.7), "m", 20_005, 0.6)
    again, _ = step(POLICY, AlarmState(pending_since_ts=5, peak_probability=0.9), "m", 99_005, 0.99)
    other, _ = step(POLICY, AlarmState(pending_since_ts=5, peak_probability=0.7), "n", 20_005, 0.6)
    assert first.alarm_id == again.alarm_id != other.alarm_id
    assert first.onset_ts == 5
    assert first.peak_probability == 0.7


@given(st.lists(st.sampled_from([0.0, 0.3, 0.4, 0.45, 0.5, 0.6, 0.95]), max_size=60))
def test_active_and_return_take_turns(probabilities: list[float]) -> None:
    state, standing = IDLE, False
    for n, p in enumerate(probabilities):
        state, kind = step(POLICY, state, "m", n * 10_000, p)
        assert kind != RTN or standing
        standing = kind == ACTIVE or (standing and kind != RTN)
        assert state.active == standing
        assert standing or p >= POLICY.setpoint or state == IDLE


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.45, 0.6, 0.95])), max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_how_readings_are_cut_into_batches_does_not_matter(readings: list[tuple[int, float]], cuts: list[int]) -> None:
    def run(bounds: list[int]) -> list[tuple[int, str, AlarmState]]:
        alarms = Alarms(POLICY)
        alarms.assign(0, {})
        made = []
        for a, b in itertools.pairwise(bounds):
            part = readings[a:b]
            staged = alarms.stage(
                [0] * len(part),
                [b"m%d" % k for k, _ in part],
                np.arange(a, b) * 10_000,
                np.array([p for _, p in part], np.float64),
            )
            made += [(a + t.row, t.kind, t.state) for t in staged.transitions]
            alarms.merge(staged)
        return made

    whole = run([0, len(readings)])
    assert run(sorted({0, len(readings), *(c % (len(readings) + 1) for c in cuts)})) == whole


def raised_at(times: list[int], shift: list[int] | None = None, probability: float = 0.6) -> list[int]:
    alarms = Alarms(POLICY)
    alarms.assign(0, {})
    n = len(times)
    moves = None if shift is None else np.array(shift)
    staged = alarms.stage([0] * n, [b"m"] * n, np.array(times), np.full(n, probability), moves)
    return [t.row for t in staged.transitions]


def test_a_timer_that_moved_is_read_where_it_is_then() -> None:
    # The second reading's clock is 299 s ahead, and the third one is 10 s after the first.
    assert raised_at([0, 299_000, 10_000, 20_000, 30_000], [0, 294_000, -299_000, 0, 0]) == [3]


def test_a_timer_that_began_in_the_future_begins_again() -> None:
    state = AlarmState(pending_since_ts=3_600_000, peak_probability=0.7)
    state, _ = step(POLICY, state, "m", 0, 0.6)
    assert state.pending_since_ts == 0
    state, kind = step(POLICY, state, "m", 20_000, 0.6)
    assert (kind, state.onset_ts) == (ACTIVE, 0)
    state, _ = step(POLICY, replace(state, clearing_since_ts=3_600_000), "m", 30_000, 0.1)
    assert step(POLICY, state, "m", 60_000, 0.1)[1] == RTN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deadband": 0.6}, "deadband 0.6 must be smaller"),
        ({"priorities": {"CRITICAL": 0.9}}, "no priority begins at or below the setpoint"),
        ({"setpoint": 1.5}, "less than 1"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AlarmPolicy.model_validate(POLICY.model_dump() | change)
