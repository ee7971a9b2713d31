"""Which readings the model can judge: sites as they are, and cells that fail, and none that are foreign to it."""

import numpy as np
import pytest

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.judged import ASSESSABLE
from worker.windows.offline import offline_features

STEPS = 240
WAVE = np.sin(np.arange(STEPS) / 20)
HEALTHY: dict[str, Float] = {
    "avg_surface_temp_c": 25 + 3 * WAVE,
    "voltage_v": 3.6 + 0.3 * WAVE,
    "soc_percent": 50 + 30 * WAVE,
    "ambient_temp_c": 20 + WAVE,
}


def reasons(known: dict[str, Float], period_s: int = 10, chemistry: str = "nmc") -> list[str]:
    """Why each reading of one key cannot be judged, empty where it can; voltage per cell."""
    values = np.full((STEPS, len(FEATURES.sensors)), np.nan)
    for name, column in known.items():
        values[:, FEATURES.sensors.index(name)] = column
    heard = ~np.isnan(values).all(axis=1)
    ts = 1_780_000_000_000 + 1000 * period_s * np.arange(STEPS)[heard]
    features, rows = offline_features(FEATURES, np.zeros(len(ts), np.int64), ts, values[heard], np.ones((1, 13)))
    assert len(rows) == len(ts)
    limits = ASSESSABLE.limits({"chemistry": chemistry})
    numbers = ASSESSABLE.first_reason(features, FEATURES.names, limits)
    return [ASSESSABLE.reasons[number - 1] if number else "" for number in numbers.tolist()]


def some(*names: str) -> dict[str, Float]:
    return {name: HEALTHY[name] for name in names}


@pytest.mark.parametrize("period_s", [1, 10, 60, 120])
@pytest.mark.parametrize("lacking", [(), ("voltage_v",), ("soc_percent", "ambient_temp_c"), ("avg_surface_temp_c",)])
def test_a_site_with_a_thermometer_can_be_judged(period_s: int, lacking: tuple[str, ...]) -> None:
    hottest = {"max_surface_temp_c": 27 + 3 * WAVE} if "avg_surface_temp_c" in lacking else {}
    assert not any(reasons({k: v for k, v in HEALTHY.items() if k not in lacking} | hottest, period_s))


@pytest.mark.parametrize("names", [("voltage_v",), ("soc_percent",), ("ambient_temp_c",), ("voltage_v", "soc_percent")])
def test_a_site_without_a_thermometer_cannot(names: tuple[str, ...]) -> None:
    assert all(why.startswith("no value: avg_surface_temp_c") for why in reasons(some(*names)))


@pytest.mark.parametrize(
    ("chemistry", "volts", "right"),
    [
        ("nmc", 2.3, False),  # LTO, but nobody said so
        ("lto", 2.3, True),
        ("lfp", 3.3, True),
        ("nmc", 3.3, True),
        ("lfp", 4.1, False),
        ("nmc", 2.1, False),  # lead-acid, counted as its own cells
        ("nmc", 12.6 / 14, False),  # a lead-acid block of 12 V, taken for a module of 14 cells
        ("nmc", 12.6, False),  # and for one cell
    ],
)
def test_a_foreign_chemistry_is_told_by_a_voltage_that_lasts(chemistry: str, volts: float, *, right: bool) -> None:
    found = reasons(some("avg_surface_temp_c") | {"voltage_v": volts + 0.05 * WAVE}, chemistry=chemistry)
    assert not any(found) if right else all(why.startswith("out of range: voltage_") for why in found[1:])


def test_a_temperature_each_five_minutes_is_too_seldom() -> None:
    assert all(why.startswith("values too far apart") for why in reasons(some("avg_surface_temp_c"), 300)[1:])
    every_30th = np.where(np.arange(STEPS) % 30 == 0, HEALTHY["avg_surface_temp_c"], np.nan)
    assert all(reasons(some("voltage_v") | {"avg_surface_temp_c": every_30th})[40:])


@pytest.mark.parametrize("hot_c", [25, 90])
def test_a_shorted_cell_is_no_foreign_one(hot_c: float) -> None:
    """Its voltage is gone at once; for as long as it matters, it is judged."""
    after = np.arange(STEPS) - 100
    heat = np.where(after < 0, 25, 25 + (hot_c - 25) * np.clip(after / 6, 0, 1))
    found = reasons({"avg_surface_temp_c": heat, "voltage_v": np.where(after < 0, 4.0, 0.0)})
    assert not any(found[:130])
