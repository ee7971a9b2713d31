"""How the alarms of a pipeline are counted, and when a bar is met."""

import numpy as np
import pytest

from pipelines.battery_hazard.training.datasets.series import About
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, evaluate_alarms
from pipelines.battery_hazard.training.fitting.policy import policy_at
from pipelines.battery_hazard.training.study.findings import verdict
from pipelines.battery_hazard.training.study.shipped_alarms import alarms_of, transitions
from training.evaluation.alarm_outcomes import Alarm

TS = np.arange(60) * 10_000
HEALTHY = About(7, 1, "complete", bench=False, period_ms=10_000, fault=None, nuisances=(), nuisance_rate=0.05)
POLICY = policy_at(0.5, 0)  # HIGH from 0.5, CRITICAL from 0.88


def scored(*probability: float) -> Scored:
    """Ten readings at each probability."""
    return Scored(
        HEALTHY, TS[: 10 * len(probability)], np.zeros(10 * len(probability), np.int8), np.repeat(probability, 10)
    )


def test_an_alarm_is_critical_from_when_it_has_that_priority() -> None:
    made, ts = transitions(POLICY, scored(0.1, 0.6, 0.95))
    (high,), (critical,) = alarms_of(made, ts, ("HIGH", "CRITICAL")), alarms_of(made, ts, ("CRITICAL",))
    assert (high.onset_ts, high.ts) == (100_000, 100_000)
    assert (critical.onset_ts, critical.ts) == (200_000, 200_000)
    assert not alarms_of(*transitions(POLICY, scored(0.1, 0.6)), ("CRITICAL",))


def test_an_alarm_that_ended_has_an_end() -> None:
    (alarm,) = alarms_of(*transitions(POLICY, scored(0.1, 0.6, 0.1, 0.1)), ("HIGH",))
    assert alarm.cleared_ts == 200_000 + 120_000


def test_time_in_alarm_counts_once_where_two_alarms_overlap() -> None:
    alarms = [Alarm(0, "a", 0, 0, "HIGH", 0.6, 100_000), Alarm(0, "b", 50_000, 50_000, "HIGH", 0.6, 150_000)]
    found = evaluate_alarms(alarms, scored(0.1, 0.1))
    assert len(found.false_alarms) == 2
    assert found.alarm_days * 86_400_000 == pytest.approx(150_000)


@pytest.mark.parametrize(
    ("low", "high", "result"), [(0.991, 1, "met"), (0.99, 1, "met"), (0.96, 1, "undecided"), (0.9, 0.98, "missed")]
)
def test_a_bar_within_the_interval_is_undecided(low: float, high: float, result: str) -> None:
    assert verdict(low, high, 0.99) == result
