"""Compares the simulator with published facts, and plots its faults.

Example:
    python -m pipelines.battery_hazard.simulator.validation --output docs
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from common.terminal import say
from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS, Fault
from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.physics.abuse import ANODE, CATHODE, SEI, START
from pipelines.battery_hazard.simulator.physics.cell import Float
from pipelines.battery_hazard.simulator.physics.single import Course, critical_oven_c, heat_cells
from pipelines.battery_hazard.simulator.plant.sensing import CO, H2, MAX, VOC, VOLTAGE

OVENS_C = (140.0, 145.0, 150.0, 155.0, 160.0)
POWERS_W = (5.0, 7.0, 8.0, 10.0, 15.0, 30.0)
_START_MS = 1_750_000_000_000
_NO_RETURN_C = 150.0


def first_s(course: Course, above_c: float) -> list[float | None]:
    """When each cell first passes a temperature, seconds; None if never."""
    hot = course.temp_c > above_c
    return [float(course.time_s[np.argmax(hot[:, i])]) if hot[:, i].any() else None for i in range(hot.shape[1])]


def facts(fleet: Fleet, ovens: Course, shorts: Course) -> dict[str, Any]:
    """Figures of the validation: ovens, shorts, order of reactions, and warning time by mechanism."""
    left = ovens.contents[:, :, OVENS_C.index(155.0)]
    used = {
        "sei": 1 - left[:, SEI] / START[SEI],
        "anode": 1 - left[:, ANODE] / START[ANODE],
        "cathode": (left[:, CATHODE] - START[CATHODE]) / (1 - START[CATHODE]),
    }
    return {
        "critical_oven_c": round(critical_oven_c(), 2),
        "oven_runaway_s": dict(zip(map(str, OVENS_C), first_s(ovens, 250.0), strict=True)),
        "short_no_return_s": dict(zip(map(str, POWERS_W), first_s(shorts, _NO_RETURN_C), strict=True)),
        "tenth_used_at_155_s": {name: float(ovens.time_s[np.argmax(u > 0.1)]) for name, u in used.items()},
        "warning_min": {m: warning([f for f in fleet.faults if f.mechanism == m]) for m in MECHANISMS},
    }


def warning(faults: list[Fault]) -> dict[str, float | int]:
    """Minutes from first sign to point of no return (median, tenth percentile), and the share that vents early."""
    if not faults:
        return {"events": 0}
    full = np.array([f.no_return_ts - f.first_sign_ts for f in faults]) / 60_000
    plain = np.array([f.no_return_ts - f.first_sign_tv_ts for f in faults]) / 60_000
    return {
        "events": len(faults),
        "median": round(float(np.median(full)), 1),
        "p10": round(float(np.percentile(full, 10)), 1),
        "median_temperature_voltage": round(float(np.median(plain)), 1),
        "at_least_5_min": round(float((full >= 5).mean()), 2),
        "vents_early": round(float(np.mean([f.vents_early for f in faults])), 2),
    }


def _cells(path: Path, ovens: Course, shorts: Course) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 (heavy, and a training extra)

    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, course, names, title in zip(
        figure.subplots(1, 2),
        (ovens, shorts),
        ([f"oven {t:g} °C" for t in OVENS_C], [f"short {p:g} W" for p in POWERS_W]),
        ("18650 (LCO, full) in an oven", "Internal short in 25 °C air"),
        strict=True,
    ):
        axes.plot(course.time_s / 60, course.temp_c, label=names)
        axes.axhline(_NO_RETURN_C, color="grey", linestyle=":")
        axes.set(xlabel="minutes", ylabel="cell °C", title=title, xlim=(0, 90), ylim=(0, 650))
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def _modules(path: Path, fleet: Fleet, seen: Float) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 (heavy, and a training extra)

    figure = Figure(figsize=(13, 8), layout="constrained")
    panels = figure.subplots(3, len(MECHANISMS), sharex=True)
    rows = [("hottest thermistor °C", [MAX]), ("module V", [VOLTAGE]), ("gas ppm: CO, H2, VOC", [CO, H2, VOC])]
    for column, mechanism in enumerate(MECHANISMS):
        chosen = [f for f in fleet.faults if f.mechanism == mechanism]
        panels[0, column].set_title(mechanism)
        for fault in chosen[:1]:
            minutes = (_START_MS + np.arange(len(seen)) * 10_000 - fault.no_return_ts) / 60_000
            for row, (label, columns) in enumerate(rows):
                axes = panels[row, column]
                axes.plot(minutes, seen[:, fault.module, columns], linewidth=0.8)
                axes.axvline(0, color="red", linewidth=0.8)
                axes.axvline((fault.first_sign_ts - fault.no_return_ts) / 60_000, color="orange", linewidth=0.8)
                axes.set_xlim(-90, 30)
                if column == 0:
                    axes.set_ylabel(label)
                if row == len(rows) - 1:
                    axes.set_yscale("symlog", linthresh=10)
                    axes.set_ylim(0, 12_000)
                    axes.set_xlabel("min to no return")
    figure.savefig(path, dpi=100)


def main(
    output: Annotated[Path, typer.Option(help="Directory for physics-cells.png and physics-faults.png.")] = Path(
        "docs"
    ),
    faults: Annotated[
        int, typer.Option(min=5, help="Number of faults to simulate for the table of warning times.")
    ] = 60,
) -> None:
    """Draw the plots of docs/physics.md and print its figures as one JSON object.

    Example: python -m pipelines.battery_hazard.simulator.validation --output docs
    """
    ovens = heat_cells(np.array(OVENS_C))
    shorts = heat_cells(np.full(len(POWERS_W), 25.0), power_w=np.array(POWERS_W))
    fleet = Fleet(4 * faults, seed=1, faults=faults, start_ms=_START_MS, span_ms=12 * 3_600_000)
    _, seen = fleet.block(4680)
    output.mkdir(parents=True, exist_ok=True)
    _cells(output / "physics-cells.png", ovens, shorts)
    _modules(output / "physics-faults.png", fleet, seen)
    say(json.dumps(facts(fleet, ovens, shorts)))


if __name__ == "__main__":
    typer.run(main)
