"""What a million modules and ten million need, by the cost model that was measured; see benchmarks.report."""

from math import ceil
from typing import Any

from rich.table import Table

from benchmarks.readings import PERIOD_MS

MODULES = (1_000_000, 10_000_000)
BUSY = 0.5
"""Share of a worker's pace that is planned for: the rest is what it catches up with."""
PARTITIONS_A_WORKER = 4
"""So that those of a lost worker spread over many others."""
REPLICAS = 3
BROKER_MB_S = 50
"""Written by a broker, replicas included: well within a disk and a 10 Gbit/s link."""
KEPT_HOURS = 24
_HORIZON_READINGS = 180
"""Of a module: two spans of 15 minutes at a reading each 10 s."""


def cost_model(throughput: dict[str, Any], scale: dict[str, Any], restore: dict[str, Any]) -> dict[str, float]:
    """What a reading and a module cost, by the runs with the most modules."""
    modules, most = max(((int(count), of) for count, of in scale["by_modules"].items()), key=lambda pair: pair[0])
    _, fewest = min(((int(count), of) for count, of in scale["by_modules"].items()), key=lambda pair: pair[0])
    takeover = max(restore["takeover"].values(), key=lambda of: of["restored_readings"])
    replay_s = takeover["first_commit_less_join_s"] - restore["start"]["first_commit_less_join_s"]
    return {
        "modules": modules,
        "cpu_us_a_reading": most["cpu_us_a_reading"],
        "bytes_a_module": most["bytes_a_module"],
        "empty_worker_mb": fewest["rss_bytes"] / 1e6,
        "replayed_readings_per_s": takeover["restored_readings"] / replay_s,
        "start_s": restore["start"]["first_commit_less_join_s"],
        "input_bytes": throughput["bytes_a_reading"]["input"],
        "prediction_bytes": throughput["bytes_a_reading"]["predictions"],
    }


def plan(modules: int, cost: dict[str, float]) -> dict[str, float]:
    """Workers, partitions, brokers, network, memory and time to restore, at one reading per module every 10 s."""
    rate = modules * 1000 / PERIOD_MS
    workers = ceil(rate * cost["cpu_us_a_reading"] / 1e6 / BUSY)
    produced_mb_s = rate * (cost["input_bytes"] + cost["prediction_bytes"]) / 1e6
    brokers = max(REPLICAS, ceil(produced_mb_s * REPLICAS / BROKER_MB_S))
    return {
        "readings/s": rate,
        "workers (a core each)": workers,
        "partitions": workers * PARTITIONS_A_WORKER,
        "memory a worker, MB": modules / workers * cost["bytes_a_module"] / 1e6 + cost["empty_worker_mb"],
        "produced, input and predictions, MB/s": produced_mb_s,
        "written by all brokers, MB/s": produced_mb_s * REPLICAS,
        "sent by all brokers, MB/s": produced_mb_s * REPLICAS,  # to replicas, and once to a consumer of each
        "brokers": brokers,
        "log of a day, TB": produced_mb_s * REPLICAS * 3600 * KEPT_HOURS / 1e6,
        "to restore a lost worker by one successor, s": cost["start_s"]
        + modules / workers * _HORIZON_READINGS / cost["replayed_readings_per_s"],
        "to restore it by all others together, s": modules
        / workers
        * _HORIZON_READINGS
        / cost["replayed_readings_per_s"]
        / max(min(workers - 1, PARTITIONS_A_WORKER), 1),
    }


def cost_table(cost: dict[str, float]) -> Table:
    """The cost model."""
    shown = Table("cost model", "measured")
    shown.columns[1].justify = "right"
    for name, value in cost.items():
        shown.add_row(name.replace("_", " "), _number(value))
    return shown


def plan_table(cost: dict[str, float]) -> Table:
    """The plans beside each other."""
    plans = [plan(modules, cost) for modules in MODULES]
    shown = Table("")
    for modules in MODULES:
        shown.add_column(f"{modules:,} modules", justify="right")
    for name in plans[0]:
        shown.add_row(name, *(_number(each[name]) for each in plans))
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 or value == int(value) else f"{value:,.1f}"
