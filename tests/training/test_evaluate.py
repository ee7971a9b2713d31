"""What counts as a warning and what as a false alarm, on hand-made probabilities."""

import numpy as np
import pytest

from producers.truth import Fault
from training.dataset import NORMAL, LabelledFleet
from training.evaluate import RESERVE_LOG_ODDS, choose_policy, judge, operator_metrics, policy_at
from worker.features import Float

MINUTE = 60_000
READINGS = 360  # an hour each of two modules; module 1 fails
NO_RETURN = 50 * MINUTE
POLICY = policy_at(0.5)


def fleet() -> LabelledFleet:
    ts = np.repeat(np.arange(READINGS) * 10_000, 2)
    key = np.tile([0, 1], READINGS)
    fault = Fault(1, "internal_short", 20 * MINUTE, 25 * MINUTE, 25 * MINUTE, NO_RETURN, vents_early=True)
    return LabelledFleet(key, ts, np.zeros((len(ts), 30)), np.full(len(ts), NORMAL, np.int8), [fault])


def probability(*over: tuple[int, float, float, float]) -> Float:
    """0.01 but for these: module, from minute, to minute, probability."""
    p, f = np.full(2 * READINGS, 0.01), fleet()
    for module, begin, end, value in over:
        p[(f.key == module) & (f.ts >= begin * MINUTE) & (f.ts < end * MINUTE)] = value
    return p


def test_a_warning_counts_from_when_the_alarm_is_raised() -> None:
    outcome = judge(POLICY, fleet(), probability((1, 40, 60, 0.8)))
    assert outcome.lead_ms == [10 * MINUTE - POLICY.on_delay_ms]
    assert outcome.false_alarms == []


def test_an_alarm_that_rises_in_priority_is_one_alarm() -> None:
    outcome = judge(POLICY, fleet(), probability((0, 10, 12, 0.6), (0, 12, 14, 0.95)))
    assert len(outcome.false_alarms) == 1


def test_an_alarm_within_the_last_30_seconds_is_no_warning() -> None:
    assert judge(POLICY, fleet(), probability((1, 49.4, 60, 0.8))).lead_ms == [0]


def test_an_alarm_before_the_fault_began_is_false_and_no_warning() -> None:
    outcome = judge(POLICY, fleet(), probability((1, 10, 15, 0.8)))
    assert outcome.lead_ms == [0]
    assert [a.onset_ts for a in outcome.false_alarms] == [10 * MINUTE]


def test_metrics_count_a_missed_event_as_no_warning() -> None:
    scored = [probability((1, 40, 60, 0.8)), probability((0, 10, 12, 0.8))]
    metrics = operator_metrics(POLICY, [fleet(), fleet()], scored)
    assert (metrics["events"], metrics["events_detected"], metrics["false_alarms"]) == (2, 1, 1)
    assert metrics["lead_time_median_s"] == pytest.approx((10 * 60 - 30) / 2)
    # Two healthy modules for an hour, and two for the 20 minutes before they failed.
    assert metrics["module_days"] == pytest.approx((2 * 60 + 2 * 20) / (24 * 60), abs=1e-3)


def chosen(scored: Float) -> float:
    """The setpoint chosen, less its reserve."""
    odds = (setpoint := choose_policy([fleet()], [scored]).setpoint) / (1 - setpoint) / np.exp(RESERVE_LOG_ODDS)
    return round(float(odds / (1 + odds)), 3)


def test_the_lowest_setpoint_without_a_single_false_reading_is_chosen_and_a_reserve_added() -> None:
    assert chosen(probability((1, 40, 60, 0.99))) == 0.3
    assert chosen(probability((0, 30, 30.1, 0.65))) == 0.7


def test_where_no_setpoint_is_free_of_false_alarms_the_one_with_fewest_is_chosen() -> None:
    assert chosen(probability((0, 10, 11, 0.999), (0, 30, 31, 0.85))) == 0.9
