"""What counts as a warning and what as a false alarm, on hand-made probabilities."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.battery_hazard.simulator.events.ground_truth import DECAYING, Fault, Nuisance
from pipelines.battery_hazard.training.datasets.labels import LEFT_OUT, labels
from pipelines.battery_hazard.training.datasets.series import About
from pipelines.battery_hazard.training.evaluation.operator_metrics import (
    Scored,
    SeriesResult,
    decisive,
    evaluate_alarms,
    evaluate_series,
    raised,
    summary,
)
from pipelines.battery_hazard.training.fitting.policy import policy_at
from training.evaluation.policy_sweep import Trace, alarms_under

if TYPE_CHECKING:
    from common.arrays import Float

MINUTE = 60_000
FAULT = Fault(1, "internal_short", 20 * MINUTE, 25 * MINUTE, 30 * MINUTE, 50 * MINUTE, vents_early=True)
ABOUT = About(7, 1, "complete", bench=False, period_ms=10_000, fault=FAULT, nuisances=(), nuisance_rate=0.5)
POLICY = policy_at(0.5, 30_000)
TS = np.arange(360) * 10_000


def scored(*over: tuple[float, float], about: About = ABOUT) -> Scored:
    """An hour at 0.01, but 0.8 from minute to minute."""
    probability = np.full(len(TS), 0.01)
    for begin, end in over:
        probability[(begin * MINUTE <= TS) & (end * MINUTE > TS)] = 0.8
    return Scored(about, TS, labels(TS, about.fault, gas=about.gas), probability)


def verdict(*over: tuple[float, float], about: About = ABOUT) -> SeriesResult:
    return evaluate_series(POLICY, scored(*over, about=about))


def test_a_warning_counts_from_when_the_alarm_is_raised() -> None:
    event = verdict((40, 60)).event
    assert event is not None
    assert event.lead_s == 10 * 60 - 30
    assert event.warning_s == 25 * 60
    assert event.met


def test_four_minutes_are_not_enough_where_physics_gives_more() -> None:
    event = verdict((45.5, 60)).event
    assert event is not None
    assert event.warned
    assert not event.met


def test_where_physics_gives_less_the_first_reading_that_could_tell_is_what_counts() -> None:
    fast = replace(ABOUT, fault=replace(FAULT, first_sign_ts=49 * MINUTE, first_sign_tv_ts=49 * MINUTE))
    # The on-delay of 30 s is part of what makes an alarm late.
    met = []
    for begin in (48.5, 48.6, 49.0):
        event = verdict((begin, 60), about=fast).event
        assert event is not None
        met.append((event.within(0), event.met))
    assert met == [(True, True), (False, True), (False, False)]


def test_without_gas_sensors_the_first_sign_is_that_of_temperature_or_voltage() -> None:
    event = verdict((40, 60), about=replace(ABOUT, sensors="no gas")).event
    assert event is not None
    assert event.warning_s == 20 * 60


def test_an_alarm_before_the_fault_began_is_false_and_warns_of_nothing() -> None:
    early = verdict((10, 15))
    assert early.event is not None
    assert early.event.lead_s is None
    assert [alarm.kind for alarm in early.false_alarms] == ["none"]
    assert early.alarm_days == pytest.approx((5 * 60 + POLICY.off_delay_ms / 1000 - 30) / 86_400)


def test_an_alarm_in_the_smoke_of_another_fire_counts_from_the_onset() -> None:
    smoke = scored((10, 60))
    smoke.label[FAULT.onset_ts > TS] = LEFT_OUT
    found = evaluate_series(POLICY, smoke)
    assert found.event is not None
    assert found.event.lead_s == (50 - 20) * 60
    assert not found.false_alarms


def test_a_false_alarm_is_put_down_to_the_nuisance_behind_it() -> None:
    shaken = replace(ABOUT, fault=None, nuisances=(Nuisance(1, "hot_day", 9 * MINUTE, 12 * MINUTE),))
    assert [alarm.kind for alarm in verdict((10, 15), about=shaken).false_alarms] == ["hot_day"]


def test_a_short_that_decays_may_be_looked_at_but_to_call_it_a_runaway_is_false() -> None:
    shorted = replace(ABOUT, fault=None, nuisances=(Nuisance(1, DECAYING, 10 * MINUTE, 20 * MINUTE),))
    one = scored((10, 12), about=shorted)
    alarms = raised(POLICY, one)
    assert len(alarms) == 1
    assert not evaluate_alarms(alarms, one).false_alarms
    (false,) = evaluate_alarms(alarms, one, critical=True).false_alarms
    assert false.kind == DECAYING


def test_an_event_after_the_end_of_the_recording_is_none() -> None:
    beyond = replace(ABOUT, fault=replace(FAULT, no_return_ts=90 * MINUTE))
    assert verdict(about=beyond).event is None


def test_figures_count_a_missed_event_as_no_lead_and_weigh_nuisances() -> None:
    healthy = replace(ABOUT, fault=None, nuisances=(Nuisance(1, "truck_co", 0, 60 * MINUTE),))
    found = summary([verdict((40, 60)), verdict(), verdict((10, 15), about=healthy)])
    assert (found["events"], found["events_detected"], found["slow_in_time"]) == (2, 1, 1)
    assert found["lead_time_median_s"] == (10 * 60 - 30) / 2
    # A healthy hour, and twice the 20 minutes before the fault.
    days = (60 + 2 * 20) / (24 * 60)
    assert found["module_days"] == pytest.approx(days, abs=1e-3)
    assert found["false_alarms_per_module_day"] == pytest.approx(0.1 / days)
    assert found["recall_ci"] == pytest.approx([0.0126, 0.9874], abs=1e-4)  # Clopper-Pearson for 1 of 2


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.01, 0.3, 0.42, 0.49, 0.5, 0.6, 0.8]), min_size=1, max_size=60),
    st.lists(st.integers(1, 60_000), min_size=60, max_size=60),
    st.sampled_from([0, 10_000, 30_000]),
    st.sampled_from([None, 1.0]),
)
def test_the_decisive_readings_raise_the_alarms_of_all(
    levels: list[float], gaps: list[int], on_delay_ms: int, immediate_log_odds: float | None
) -> None:
    policy = policy_at(0.5, on_delay_ms, immediate_log_odds)
    ts, probability = np.cumsum(gaps)[: len(levels)], np.array(levels)
    about = replace(ABOUT, fault=None)
    whole = alarms_under(policy, Trace(np.zeros(len(ts), np.int64), ts, probability), ["module"])
    few = raised(policy, Scored(about, ts, labels(ts, None, gas=True), probability))
    assert [(a.onset_ts, a.ts, a.cleared_ts) for a in few] == [(a.onset_ts, a.ts, a.cleared_ts) for a in whole]


def test_a_long_alarm_is_decided_by_a_few_readings() -> None:
    probability: Float = scored((10, 15)).probability
    assert len(decisive(POLICY, TS, probability)) < 8
