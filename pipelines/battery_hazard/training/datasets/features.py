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


def _without(*kept: str) -> tuple[str, ...]:
    return tuple(s for s in SENSORS if s not in kept)


SITES: dict[str, tuple[float, tuple[str, ...]]] = {
    "complete": (0.34, ()),
    "no gas": (0.18, _GAS),
    "no ambient": (0.08, ("ambient_temp_c",)),
    "no state of charge": (0.08, ("soc_percent", "max_surface_temp_c")),
    "temperature, voltage, current": (0.12, _without("avg_surface_temp_c", "voltage_v", "current_a")),
    "temperature, voltage": (0.12, _without("avg_surface_temp_c", "voltage_v")),
    "temperature": (0.08, _without("avg_surface_temp_c")),
}
"""How sites are equipped: share of sites, and the sensors they lack.

A model that never sees a missing sensor in training scores such readings at random.
"""

BENCH_SITES: dict[str, tuple[float, tuple[str, ...]]] = {
    "temperature, voltage, current": (0.3, SITES["temperature, voltage, current"][1]),
    "temperature, voltage": (0.25, SITES["temperature, voltage"][1]),
    "temperatures, voltage": (0.25, _without("avg_surface_temp_c", "max_surface_temp_c", "voltage_v")),
    "temperature": (0.2, SITES["temperature"][1]),
}
"""The same for single cells on a test bench, which have at most temperatures, voltage and current."""

HELD_OUT = "cooling_failure"
"""Mechanism that is absent from training and validation, to test the model on a fault that nobody foresaw."""
