"""The alarm policy is chosen on validation events, within a budget of false alarms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.battery_hazard.simulator.events.ground_truth import Fault, Nuisance
from pipelines.battery_hazard.training.datasets.labels import labels
from pipelines.battery_hazard.training.datasets.series import About
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, evaluate_series
from pipelines.battery_hazard.training.fitting.levels import Levels
from pipelines.battery_hazard.training.fitting.policy import choose_policy, policy_at, rate_of

MINUTE = 60_000
FAULT = Fault(0, "overcharge", 20 * MINUTE, 30 * MINUTE, 30 * MINUTE, 50 * MINUTE, vents_early=True)
FAILING = About(1, 0, "complete", bench=False, period_ms=10_000, fault=FAULT, nuisances=(), nuisance_rate=0.05)
HEALTHY = replace(FAILING, module=1, fault=None)
TS = np.arange(360) * 10_000


def scored(about: About, *spells: tuple[float, float, float]) -> Scored:
    """An hour at 0.001 but for these: from minute, to minute, probability."""
    probability = np.full(len(TS), 0.001)
    for begin, end, value in spells:
        probability[(begin * MINUTE <= TS) & (end * MINUTE > TS)] = value
    return Scored(about, TS, labels(TS, about.fault, gas=True), probability)


def test_the_setpoint_lies_above_what_normal_operation_reaches_and_below_what_the_event_does() -> None:
    policy = choose_policy([scored(FAILING, (35, 60, 0.99)), scored(HEALTHY, (5, 15, 0.6))])
    assert 0.6 < policy.setpoint <= 0.99
    assert evaluate_series(policy, scored(FAILING, (35, 60, 0.99))).event.met  # type: ignore[union-attr]


def test_a_delay_is_taken_where_it_lets_the_setpoint_be_lower() -> None:
    # Normal operation spikes for a reading; the event never reaches as high.
    policy = choose_policy([scored(FAILING, (35, 60, 0.9)), scored(HEALTHY, (5, 5.2, 0.999))])
    assert policy.on_delay_ms >= 10_000
    assert policy.setpoint <= 0.9


def test_nuisances_that_were_simulated_more_often_than_they_occur_may_alarm() -> None:
    shaken = replace(HEALTHY, nuisances=(Nuisance(1, "soft_short", 0, 60 * MINUTE),))
    often = replace(shaken, nuisance_rate=1e9)
    failing = scored(FAILING, (35, 60, 0.9))
    assert choose_policy([failing, scored(often, (5, 15, 0.99))]).setpoint <= 0.9
    assert choose_policy([failing, scored(shaken, (5, 15, 0.99))]).setpoint > 0.99


def test_where_no_setpoint_is_good_enough_the_highest_is_taken() -> None:
    policy = choose_policy([scored(HEALTHY, (5, 15, 1.0))])
    assert policy.setpoint > 0.9999
    assert rate_of([scored(HEALTHY, (5, 15, 1.0))])(policy) == pytest.approx(24)


def test_a_model_with_levels_has_no_setpoint_that_a_cool_cell_can_reach() -> None:
    quiet = [scored(FAILING, (35, 60, 0.9)), scored(HEALTHY)]
    assert choose_policy(quiet).setpoint < 0.1
    policy = choose_policy(quiet, levels=Levels(immediate=0.999, critical=0.9999))
    assert policy.setpoint == pytest.approx(0.679, abs=0.001)
    assert (policy.immediate, policy.priorities["CRITICAL"]) == (0.999, 0.9999)
    assert choose_policy(quiet, levels=Levels(immediate=0.5, critical=0.6)).setpoint <= 0.5


@given(st.floats(0.02, 0.9999), st.sampled_from([0, 30_000]))
def test_deadband_and_priorities_go_with_the_setpoint(setpoint: float, on_delay_ms: int) -> None:
    policy = policy_at(setpoint, on_delay_ms)
    assert 0 < policy.deadband < policy.setpoint
    assert policy.priority(setpoint) == "HIGH"
    assert policy.priority(0.999999) == "CRITICAL"


def test_where_a_sudden_fault_is_sure_enough_the_delay_is_left_out() -> None:
    sudden = replace(FAILING, fault=replace(FAULT, first_sign_ts=50 * MINUTE, first_sign_tv_ts=50 * MINUTE))
    slow = [scored(FAILING, (35, 60, 0.9)), scored(replace(FAILING, module=2), (34, 60, 0.9))]
    # One reading of normal operation spikes over what the slow ones reach, and under what the sudden one does.
    policy = choose_policy([*slow, scored(sudden, (50, 60, 0.9999)), scored(HEALTHY, (5, 5.1, 0.95))])
    assert policy.on_delay_ms
    assert policy.setpoint <= 0.9
    assert policy.immediate is not None
    assert evaluate_series(policy, scored(sudden, (50, 60, 0.9999))).event.within(0)  # type: ignore[union-attr]
