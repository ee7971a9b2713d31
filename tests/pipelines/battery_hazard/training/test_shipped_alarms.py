"""How the alarms of a pipeline are counted, and when a bar is met."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import Int
from pipelines.battery_hazard.training.datasets.series import About, Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, evaluate_alarms
from pipelines.battery_hazard.training.fitting.policy import policy_at
from pipelines.battery_hazard.training.study.findings import verdict
from pipelines.battery_hazard.training.study.shipped_alarms import Shipped, alarms_of, telling
from training.evaluation.alarm_outcomes import Alarm
from worker.alarms.alarms import Alarms
from worker.alarms.rules import Condition, Rule
from worker.model.assessable import Assessable
from worker.model.package import ModelPackage

TS = np.arange(400) * 10_000
HEALTHY = About(7, 1, "complete", bench=False, period_ms=10_000, fault=None, nuisances=(), nuisance_rate=0.05)
POLICY = policy_at(0.5, 0)  # HIGH from 0.5, CRITICAL from 0.88


def scored(*probability: float) -> Scored:
    """Ten readings at each probability."""
    n = 10 * len(probability)
    return Scored(HEALTHY, TS[:n], np.zeros(n, np.int8), np.repeat(probability, 10))


def alarms(
    package: ModelPackage, one: Scored, *priorities: str, rules: tuple[Rule, ...] = (), **known: float
) -> list[Alarm]:
    """Alarms of the model under `POLICY`, and of rules, at readings with these features."""
    features = np.full((len(one.ts), len(package.numeric)), np.nan)
    for name, value in known.items():
        features[5:, package.numeric.index(name)] = value
    made, ts = Shipped(package, POLICY, rules).transitions(
        Series(HEALTHY, one.ts, features, one.label), one.probability
    )
    return alarms_of(made, ts, priorities)


def test_an_alarm_is_critical_from_when_it_has_that_priority(package: ModelPackage) -> None:
    (high,) = alarms(package, scored(0.1, 0.6, 0.95), "HIGH", "CRITICAL")
    (critical,) = alarms(package, scored(0.1, 0.6, 0.95), "CRITICAL")
    assert (high.onset_ts, high.ts) == (100_000, 100_000)
    assert (critical.onset_ts, critical.ts) == (200_000, 200_000)
    assert not alarms(package, scored(0.1, 0.6), "CRITICAL")


def test_an_alarm_that_ended_has_an_end(package: ModelPackage) -> None:
    normal = POLICY.off_delay_ms // 100_000 + 1
    (alarm,) = alarms(package, scored(0.1, 0.6, *normal * [0.1]), "HIGH")
    assert alarm.cleared_ts == 200_000 + POLICY.off_delay_ms


def test_alarms_of_rules_count_beside_those_of_the_model(package: ModelPackage) -> None:
    hot = Rule(name="hot", priority="CRITICAL", any_of=(Condition(field="max_surface_temp_c", high=110.0),))
    low = Rule(name="low", priority="MAINTENANCE", any_of=(Condition(field="voltage_v", low=56.0),))
    seen = {"max_surface_temp_c": 120.0, "voltage_v": 3.9}  # the model gets volts per cell, the rule those of 14
    one = scored(0.1, 0.6)
    assert [a.ts for a in alarms(package, one, "HIGH", "CRITICAL", rules=(hot, low), **seen)] == [50_000, 100_000]
    assert [a.ts for a in alarms(package, one, "CRITICAL", rules=(hot, low), **seen)] == [50_000]
    assert [a.ts for a in alarms(package, one, "MAINTENANCE", rules=(hot, low), **seen)] == [50_000]


def test_what_the_model_cannot_judge_raises_no_alarm_of_it(package: ModelPackage) -> None:
    needs_heat = replace(package, assessable=Assessable(needs=(("max_surface_temp_c",),)))
    one = scored(0.1, 0.9)
    assert not alarms(needs_heat, one, "HIGH", "CRITICAL", voltage_v=3.6)
    assert [a.ts for a in alarms(needs_heat, one, "HIGH", "CRITICAL", max_surface_temp_c=30.0)] == [100_000]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.01, 0.3, 0.42, 0.49, 0.5, 0.6, 0.8, 0.9]), min_size=1, max_size=60),
    st.lists(st.integers(1, 60_000), min_size=60, max_size=60),
    st.sampled_from([0, 10_000, 30_000]),
    st.sampled_from([None, 1.0]),
)
def test_the_telling_readings_make_the_transitions_of_all(
    levels: list[float], gaps: list[int], on_delay_ms: int, immediate_log_odds: float | None
) -> None:
    policy, ts, probability = (
        policy_at(0.5, on_delay_ms, immediate_log_odds),
        np.cumsum(gaps)[: len(levels)],
        np.array(levels),
    )

    def transitions(rows: Int) -> list[tuple[int, str, str]]:
        machine = Alarms(policy)
        machine.assign(0, {})
        made = machine.stage([0] * len(rows), [b"module"] * len(rows), ts[rows], probability[rows]).transitions
        return [(int(ts[rows[one.row]]), one.kind, one.state.priority) for one in made]

    assert transitions(telling(policy, probability, ts)) == transitions(np.arange(len(ts)))


def test_time_in_alarm_counts_once_where_two_alarms_overlap() -> None:
    overlapping = [Alarm(0, "a", 0, 0, "HIGH", 0.6, 100_000), Alarm(0, "b", 50_000, 50_000, "HIGH", 0.6, 150_000)]
    found = evaluate_alarms(overlapping, scored(0.1, 0.1))
    assert len(found.false_alarms) == 2
    assert found.alarm_days * 86_400_000 == pytest.approx(150_000)


@pytest.mark.parametrize(
    ("low", "high", "result"), [(0.991, 1, "met"), (0.99, 1, "met"), (0.96, 1, "undecided"), (0.9, 0.98, "missed")]
)
def test_a_bar_within_the_interval_is_undecided(low: float, high: float, result: str) -> None:
    assert verdict(low, high, 0.99) == result
