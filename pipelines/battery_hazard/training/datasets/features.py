"""Constants of the battery hazard model, and how simulated sites are equipped."""

from pipelines.battery_hazard.simulator.fleet import CAPACITY_AH, CELLS_IN_SERIES, SENSORS
from worker.windows.feature_spec import FeatureSpec

FEATURES_30 = FeatureSpec(
    sensors=(
        "avg_surface_temp_c",
        "max_surface_temp_c",
        "voltage_v",
        "current_a",
        "soc_percent",
        "offgas_co_ppm",
        "offgas_h2_ppm",
        "offgas_voc_ppm",
        "ambient_temp_c",
    ),
    differences=("avg_surface_temp_c", "voltage_v", "soc_percent"),
    rolling=("avg_surface_temp_c", "voltage_v", "current_a"),
    windows=(6, 30, 60),
    max_span_ms=900_000,
    per={"voltage_v": "cells_in_series", "current_a": "capacity_ah"},
    period_ms=10_000,
)
"""The features of the system before this one, for packages made with them.

9 sensors, 3 differences, mean and deviation of 3 sensors over 6, 30 and 60 readings (1, 5 and 10 minutes).
"""

RECORD = "SensorReading"
"""Avro schema of the readings. The model package stores its fingerprint."""

COMBINATIONS: dict[str, dict[str, float]] = {
    "max_less_avg_temp_c": {"max_surface_temp_c": 1.0, "avg_surface_temp_c": -1.0},
    "avg_less_ambient_temp_c": {"avg_surface_temp_c": 1.0, "ambient_temp_c": -1.0},
    "voltage_less_soc_v": {"voltage_v": 1.0, "soc_percent": -0.0075},
}
"""Watched for drift besides the features. Common changes, by weather or by the day's trading, cancel in them.

From empty to full, the open-circuit voltage of a cell rises by about 0.75 V.
"""

TOPOLOGY = {"cells_in_series": float(CELLS_IN_SERIES), "capacity_ah": CAPACITY_AH}
"""Default topology of the simulated modules."""

_GAS = ("offgas_co_ppm", "offgas_h2_ppm", "offgas_voc_ppm")
_CELLS = ("min_cell_voltage_v", "max_cell_voltage_v", "min_cell_temp_c", "max_cell_temp_c")
THERMOMETERS = ("avg_surface_temp_c", "max_surface_temp_c", "min_cell_temp_c", "max_cell_temp_c")


def _without(*kept: str) -> tuple[str, ...]:
    return tuple(s for s in SENSORS if s not in kept)


SITES: dict[str, tuple[float, tuple[str, ...]]] = {
    "complete": (0.20, ()),
    "no cells": (0.18, _CELLS),
    "no gas": (0.10, _GAS),
    "no gas, no cells": (0.12, (*_GAS, *_CELLS)),
    "no ambient": (0.06, ("ambient_temp_c", *_CELLS)),
    "no state of charge": (0.06, ("soc_percent", "max_surface_temp_c", *_CELLS)),
    "cells only": (0.06, _without("voltage_v", "current_a", "soc_percent", *_CELLS)),
    "temperature, voltage, current": (0.06, _without("avg_surface_temp_c", "voltage_v", "current_a")),
    "temperature, voltage": (0.05, _without("avg_surface_temp_c", "voltage_v")),
    "temperatures, voltage": (0.04, _without("avg_surface_temp_c", "max_surface_temp_c", "voltage_v")),
    "temperature": (0.04, _without("avg_surface_temp_c")),
    "no temperature": (0.02, THERMOMETERS),
    "voltage": (0.01, _without("voltage_v")),
}
"""How sites are equipped: share of sites, and the sensors they lack.

A model that never sees a missing sensor in training scores such readings at random. No fault is shown to a site without
a thermometer, because such a site cannot be judged.
"""

BENCH_SITES: dict[str, tuple[float, tuple[str, ...]]] = {
    name: (share, SITES[name][1])
    for name, share in (
        ("temperature, voltage, current", 0.3),
        ("temperature, voltage", 0.25),
        ("temperatures, voltage", 0.25),
        ("temperature", 0.15),
        ("voltage", 0.05),
    )
}
"""The same for single cells on a test bench, which have at most temperatures, voltage and current."""

HELD_OUT = "cooling_failure"
"""Mechanism that is absent from training and validation, to test the model on a fault that nobody foresaw."""
