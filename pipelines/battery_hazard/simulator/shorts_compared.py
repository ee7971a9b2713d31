"""Compares the simulated sudden shorts with recorded tests: rise, peak, decay and dip of voltage.

Example:
    python -m pipelines.battery_hazard.simulator.shorts_compared indentation/ --plot docs/physics-shorts.png
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from common.json_text import strict_json
from common.terminal import say
from common.times import HOUR_MS
from pipelines.battery_hazard.simulator.events.ground_truth import SUDDEN
from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.physics.cell import Float

KINDS = {"lco": ("large", 5.0, "nmc"), "smallpouch": ("small", 1.2, "nmc"), "lfp15": ("LFP", 15.0, "lfp")}
"""Family of the recorded tests: its name here, and capacity (Ah) and chemistry of the simulated cells."""
_ROOM_C, _QUANTILES = 24.0, (0.1, 0.5, 0.9)
_BEFORE_S, _AFTER_S = 5, 120


class Short(NamedTuple):
    """A short, each second: temperature (C) and change of voltage (V), [k]; and how it ended."""

    kind: str
    runs_away: bool
    temp_c: Float
    volt_v: Float


def recorded(directory: Path) -> Iterator[Short]:
    """The tests in `tests.csv` and `readings.csv.gz` of a directory, for families in `KINDS`."""
    with (directory / "tests.csv").open(newline="") as file:
        ended = {row["test"]: bool(row["runaway_onset_s"]) for row in csv.DictReader(file)}
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with gzip.open(directory / "readings.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["test"]].append((float(row["max_temp_c"] or "nan"), float(row["voltage_v"] or "nan")))
    for test, values in rows.items():
        if (family := test.split("_")[0]) in KINDS:
            temp, volt = np.array(values).T
            yield Short(KINDS[family][0], ended[test], temp, volt - np.nanmedian(volt[:20]))


def simulated(runaways: int, seed: int) -> Iterator[Short]:
    """Sudden shorts of single cells of the same sizes and chemistries, without the noise of sensors."""
    for kind, capacity_ah, chemistry in KINDS.values():
        fleet = Fleet(
            5 * runaways,
            seed,
            faults=runaways,
            start_ms=1_750_000_000_000,
            span_ms=4 * HOUR_MS,
            period_ms=1000,
            mechanisms=(SUDDEN,),
            cells_in_series=1,
            capacity_ah=capacity_ah,
            chemistry=chemistry,
        )
        for one in fleet.events:
            yield Short(kind, one.no_return_ms is not None, _ROOM_C + one.hot_c, one.volt_v)


def shape(short: Short) -> dict[str, float]:
    """Figures of a short, from the last second before its steepest rise on."""
    temp, volt, begin = short.temp_c, short.volt_v, beginning(short)
    peak = begin + int(np.nanargmax(temp[begin:]))
    rise = temp - temp[begin]
    fallen = np.flatnonzero(rise[peak:] <= 0.63 * rise[peak])
    seconds = volt[begin : begin + 60]
    return {
        "steepest_k_s": float(np.nanmax(np.diff(temp))),
        "rise_3_s_k": float(rise[min(begin + 3, len(rise) - 1)]),
        "rise_10_s_k": float(rise[min(begin + 10, len(rise) - 1)]),
        "peak_c": float(temp[peak]),
        "to_peak_s": float(peak - begin),
        "to_63_percent_s": float(fallen[0]) if fallen.size else float("nan"),
        "dip_v": float(-np.nanmin(seconds)),
        "dip_left_after_1_min_v": float(-seconds[-1]),
    }


def beginning(short: Short) -> int:
    """Last second before the steepest rise: going back from it while the temperature rises by 0.8 K/s and more."""
    at = int(np.nanargmax(np.diff(short.temp_c)))
    while at > 0 and short.temp_c[at] - short.temp_c[at - 1] > 0.8:
        at -= 1
    return at


def quantiles(shorts: list[Short]) -> dict[str, dict[str, object]]:
    """Tenth, fiftieth and ninetieth percentile of each figure, by kind and outcome."""
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for one in shorts:
        groups[f"{one.kind}, {'runaway' if one.runs_away else 'decays'}"].append(shape(one))
    return {
        name: {"tests": len(shapes)}
        | {
            figure: [round(float(q), 1) for q in np.nanquantile([s[figure] for s in shapes], _QUANTILES)]
            for figure in shapes[0]
            if not np.isnan([s[figure] for s in shapes]).all()
        }
        for name, shapes in groups.items()
    }


def _plot(path: Path, found: dict[str, list[Short]]) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 (heavy, and a training extra)

    figure = Figure(figsize=(12, 6), layout="constrained")
    panels = figure.subplots(2, len(KINDS), sharex=True)
    second = np.arange(-_BEFORE_S, _AFTER_S)
    for column, (kind, *_) in enumerate(KINDS.values()):
        for row, runs_away in enumerate((False, True)):
            axes = panels[row, column]
            axes.set(title=f"{kind}: {'runaway' if runs_away else 'decays'}", xlabel="s", ylabel="°C")
            for colour, (source, shorts) in zip(("tab:orange", "tab:blue"), found.items(), strict=True):
                chosen = [one for one in shorts if (one.kind, one.runs_away) == (kind, runs_away)]
                if not chosen:
                    continue
                seen = [one.temp_c[np.clip(second + beginning(one), 0, len(one.temp_c) - 1)] for one in chosen]
                low, middle, high = np.nanquantile(seen, _QUANTILES, axis=0)
                axes.plot(second, middle, color=colour, label=f"{source} ({len(chosen)})")
                axes.fill_between(second, low, high, color=colour, alpha=0.2)
            axes.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main(
    directory: Annotated[Path, typer.Argument(help="Recorded tests: tests.csv and readings.csv.gz.")],
    plot: Annotated[Path | None, typer.Option(help="File for a plot of both.")] = None,
    runaways: Annotated[int, typer.Option(min=1, help="Simulated runaways of each kind of cell.")] = 40,
) -> None:
    """Print the figures of recorded and simulated sudden shorts as one JSON object."""
    found = {"recorded": list(recorded(directory)), "simulated": list(simulated(runaways, seed=1))}
    if plot is not None:
        _plot(plot, found)
    say(strict_json({source: quantiles(shorts) for source, shorts in found.items()}))


if __name__ == "__main__":
    typer.run(main)
