"""The battery hazard model as data: its features, and what the simulated fleet is built of."""

from producers.fleet import CAPACITY_AH, CELLS_IN_SERIES, SENSORS
from worker.features import FeatureSpec

FEATURES = FeatureSpec(
    sensors=SENSORS,
    differences=("avg_surface_temp_c", "voltage_v", "soc_percent"),
    rolling=("avg_surface_temp_c", "voltage_v", "current_a"),
    windows=(6, 30, 60),
    max_span_ms=900_000,
    per={"voltage_v": "cells_in_series", "current_a": "capacity_ah"},
    period_ms=10_000,
)
"""30 features: 9 sensors, 3 differences, mean and deviation of 3 sensors over 1, 5 and 10 minutes."""

RECORD = "SensorReading"
"""Avro schema of the readings; its fingerprint is kept in the model package."""

TOPOLOGY = {"cells_in_series": float(CELLS_IN_SERIES), "capacity_ah": CAPACITY_AH}
"""Of the simulated modules."""

SITES: dict[str, tuple[float, tuple[str, ...]]] = {
    "complete": (0.40, ()),
    "no gas sensors": (0.15, ("offgas_co_ppm", "offgas_h2_ppm", "offgas_voc_ppm")),
    "no ambient": (0.10, ("ambient_temp_c",)),
    "no state of charge": (0.10, ("soc_percent", "max_surface_temp_c")),
    "test bench": (0.15, tuple(s for s in SENSORS if s not in {"avg_surface_temp_c", "voltage_v", "current_a"})),
    "temperature only": (0.10, tuple(s for s in SENSORS if s != "avg_surface_temp_c")),
}
"""How sites are equipped: share of modules, and the sensors they lack.

A model that never saw a sensor missing would guess where it is.
"""
