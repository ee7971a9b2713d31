"""The features of the battery hazard model. Each is dangerous in one direction only, and its sign is the model's.

Rates are over spans of time, so they mean the same at any sampling period. Mean, hottest and cell temperatures stand in
for each other. A quantity that is dangerous both ways, such as voltage, enters twice.
"""

from typing import Literal

from pipelines.battery_hazard.simulator.fleet import SENSORS
from worker.model.scaler import Scaler
from worker.windows.derived import Derived, Gated, Greatest, Limited, WeightedSum
from worker.windows.feature_spec import FeatureSpec
from worker.windows.span_statistics import SpanKind
from worker.windows.time_spans import Span

SECOND, MINUTE = 1000, 60_000
_RATE, _FIRST = SpanKind.RATE, SpanKind.FIRST
_MEAN, _HOT = "avg_surface_temp_c", "max_surface_temp_c"
_TEMPERATURES = (_MEAN, _HOT, "max_cell_temp_c")
_GASES = ("offgas_co_ppm", "offgas_h2_ppm", "offgas_voc_ppm")
_OVER = {"10s": 10 * SECOND, "20s": 20 * SECOND, "1min": MINUTE, "5min": 5 * MINUTE}

HOT_C, CERTAIN_C = 60.0, 100.0
"""From 60 degrees Celsius on, the heating score counts the rate; past 100, each further degree counts three times."""
_AHEAD_S, _FASTEST_K_S = 30.0, 3.0
_CHANGE_S, _CHANGE_K_S = 6.0, 1.0
_BEYOND, _BEYOND_C = 2.0, 60.0
HEATING_C, CERTAIN = 8.0, 1e5
"""A cell is hot and heating from a rise of 8 degrees ahead on. It is then as dangerous as any other sign can say:
beyond all values that the trees split on, gas in ppm, too.
"""
_NEARLY_C = 5.0
_SOC_V_PERCENT, _LOAD_V_C = 0.0075, 0.06
"""From empty to full, the rest voltage of a cell rises by about 0.75 V. At 1 C, a cell loses about 0.06 V."""


def _spans() -> tuple[Span, ...]:
    of: list[tuple[str, SpanKind, int]] = [(s, _RATE, over) for s in _TEMPERATURES for over in _OVER.values()]
    of += [(_MEAN, _FIRST, 5 * MINUTE)]
    for sensor in ("voltage_v", "current_a", "min_cell_voltage_v"):
        of += [(sensor, _RATE, 10 * SECOND), (sensor, _FIRST, 5 * MINUTE)]
    of += [(sensor, SpanKind.GAP, 15 * MINUTE) for sensor in _TEMPERATURES]
    return tuple(Span(sensor=sensor, kind=kind, over_ms=over) for sensor, kind, over in of)


def _sum(name: str, constant: float = 0.0, **weights: float) -> WeightedSum:
    return WeightedSum(name=name, weights=weights, constant=constant)


def _settled(feature: str) -> Greatest:
    """A feature that no longer counts, as it is at its dangerous end, once a cell is hot and heating."""
    return Greatest(name=f"settled_{feature}", of=(feature, "hot_and_heating"))


def _heat() -> list[Derived]:
    greatest = [
        Greatest(name=f"greatest_rate_{over}", of=tuple(f"{s}_rate_{over}" for s in _TEMPERATURES)) for over in _OVER
    ]
    changes = [_sum(f"{s}_change_of_rate", **{f"{s}_rate_10s": 1.0, f"{s}_rate_20s": -1.0}) for s in _TEMPERATURES]
    return [
        Greatest(name="hottest_c", of=_TEMPERATURES),
        *greatest,
        *changes,
        Greatest(name="greatest_change_of_rate", of=tuple(each.name for each in changes)),
        Limited(name="rate_counted", feature="greatest_rate_10s", low=0.0, high=_FASTEST_K_S),
        Limited(name="change_counted", feature="greatest_change_of_rate", low=-_CHANGE_K_S, high=_CHANGE_K_S),
        _sum("change_ahead_c", rate_counted=_AHEAD_S, change_counted=_CHANGE_S),
        Limited(name="rise_ahead_c", feature="change_ahead_c", low=0.0),
        Gated(name="rise_ahead_when_hot_c", feature="rise_ahead_c", where="hottest_c", at_least=HOT_C),
        _sum("beyond_c", -CERTAIN_C, hottest_c=1.0),
        Limited(name="beyond_counted_c", feature="beyond_c", low=0.0, high=_BEYOND_C),
        _sum("score_of_heat", hottest_c=1.0, beyond_counted_c=_BEYOND),
        _sum("score_of_heating", score_of_heat=1.0, rise_ahead_when_hot_c=1.0),
        Greatest(name="heating_score", of=("score_of_heat", "score_of_heating")),
        _sum("heating_when_hot", -CERTAIN * HEATING_C, rise_ahead_when_hot_c=CERTAIN),
        Limited(name="hot_and_heating", feature="heating_when_hot", low=-CERTAIN, high=CERTAIN),
    ]


def _warmth() -> list[Derived]:
    return [
        _sum("above_earlier_mean_c", **{"hottest_c": 1.0, f"{_MEAN}_first_5min": -1.0}),
        _sum("negative_ambient_c", ambient_temp_c=-1.0),
        _sum("hottest_less_ambient_c", hottest_c=1.0, ambient_temp_c=-1.0),
        _sum("mean_less_ambient_c", **{_MEAN: 1.0, "ambient_temp_c": -1.0}),
    ]


def _charge() -> list[Derived]:
    return [
        _sum("negative_current_a", current_a=-1.0),
        Greatest(name="current_magnitude_a", of=("current_a", "negative_current_a")),
        _sum("negative_magnitude_a", current_magnitude_a=-1.0),
        _sum("low_voltage_v", voltage_v=-1.0),
        _sum("voltage_fall_v", voltage_v_first_5min=1.0, voltage_v=-1.0),
        _sum("voltage_step_less_load", voltage_v_rate_10s=-1.0, current_a_rate_10s=_LOAD_V_C),
        _sum("load_fall_v", current_a_first_5min=_LOAD_V_C, current_a=-_LOAD_V_C),
        _sum("unexplained_fall_v", voltage_fall_v=1.0, load_fall_v=-1.0),
        _sum("above_rest_v", voltage_v=1.0, soc_percent=-_SOC_V_PERCENT, current_a=-_LOAD_V_C),
        _sum("below_rest_v", above_rest_v=-1.0),
        _sum("below_charge_v", voltage_v=-1.0, soc_percent=_SOC_V_PERCENT),
    ]


def _cells() -> list[Derived]:
    return [
        _sum("low_cell_voltage_v", min_cell_voltage_v=-1.0),
        _sum("cell_voltage_fall_v", min_cell_voltage_v_first_5min=1.0, min_cell_voltage_v=-1.0),
        _sum("cell_less_module_fall_v", cell_voltage_fall_v=1.0, voltage_fall_v=-1.0),
        _sum("cell_voltage_spread_v", max_cell_voltage_v=1.0, min_cell_voltage_v=-1.0),
        _sum("cell_voltage_step_less_load", min_cell_voltage_v_rate_10s=-1.0, voltage_v_rate_10s=1.0),
    ]


def _all_settled() -> list[Derived]:
    """All that the trees may split on beside the score, so that nothing else orders cells that are hot and heating."""
    warmth = [
        "hottest_c",
        _MEAN,
        "greatest_rate_10s",
        "greatest_rate_1min",
        "greatest_rate_5min",
        f"{_MEAN}_rate_1min",
        f"{_MEAN}_rate_5min",
        "above_earlier_mean_c",
        "hottest_less_ambient_c",
        "mean_less_ambient_c",
        "negative_ambient_c",
    ]
    charge = [
        "current_a",
        "negative_current_a",
        "negative_magnitude_a",
        "soc_percent",
        "voltage_v",
        "low_voltage_v",
        "voltage_fall_v",
        "voltage_step_less_load",
        "unexplained_fall_v",
        "above_rest_v",
        "below_rest_v",
        "below_charge_v",
    ]
    return [_settled(name) for name in (*warmth, *charge, *(each.name for each in _cells()), *_GASES)]


def _lasting_voltages() -> list[Derived]:
    """For what can be judged: the voltage of minutes ago, beyond any lower limit once a cell is hot."""
    return [
        Limited(name="nearly_hot_c", feature="hottest_c", low=HOT_C - _NEARLY_C, high=HOT_C),
        _sum("voltage_lately_v", _NEARLY_C - HOT_C, voltage_v_first_5min=1.0, nearly_hot_c=1.0),
    ]


_SPEC = FeatureSpec(
    sensors=SENSORS,
    differences=(),
    rolling=(),
    windows=(),
    holds=31,
    max_span_ms=900_000,
    per={"voltage_v": "cells_in_series", "current_a": "capacity_ah"},
    spans=_spans(),
    derived=(*_heat(), *_warmth(), *_charge(), *_cells(), *_all_settled(), *_lasting_voltages()),
)
_FALLING = {
    "ambient_temp_c",
    "current_magnitude_a",
    "voltage_v_rate_10s",
    "min_cell_voltage_v_rate_10s",
}
MONOTONE: dict[str, Literal[-1, 1]] = {name: -1 if name in _FALLING else 1 for name in _SPEC.names}
"""Direction in which each feature is dangerous, all else equal: 1 when it rises, -1 when it falls."""
FEATURES = FeatureSpec.model_validate(_SPEC.model_dump() | {"monotone": MONOTONE})
"""The features that models are trained on."""

USED = [
    i
    for i, name in enumerate(FEATURES.names)
    if name in ("heating_score", "hot_and_heating") or name.startswith("settled_")
]
"""Columns that the trees may split on. The others are steps on the way to these."""
MISSING = tuple(-1e6 * MONOTONE[name] for name in FEATURES.names)
SAFE = Scaler(missing=MISSING)
"""Puts the safe end, beyond all values, in for a missing value: no sensor is a danger by its absence."""
