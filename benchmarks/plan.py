"""The resources that one and ten million modules need, by the measured cost model; see benchmarks.report."""

from math import ceil
from typing import Any

from rich.table import Table

from benchmarks.readings import PERIOD_MS

MODULES = (1_000_000, 10_000_000)
BUSY = 0.5
"""Planned load of a worker, as a share of its throughput. The rest is needed to catch up."""
PARTITIONS_A_WORKER = 4
"""Several, so that the partitions of a lost worker spread over many others."""
REPLICAS = 3
BROKER_MB_S = 50
"""Bytes per second that a broker writes, replicas included: well below a disk and a 10 Gbit/s link."""
KEPT_HOURS = 24
_HORIZON_READINGS = 180
"""Per module: two spans of 15 minutes with one reading every 10 s."""


def cost_model(throughput: dict[str, Any], scale: dict[str, Any], restore: dict[str, Any]) -> dict[str, float]:
    """The cost of a reading and of a module, from the runs with the most modules."""
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
        "workers (one core each)": workers,
        "partitions": workers * PARTITIONS_A_WORKER,
        "memory per worker, MB": modules / workers * cost["bytes_a_module"] / 1e6 + cost["empty_worker_mb"],
        "produced, input and predictions, MB/s": produced_mb_s,
        "written by all brokers, MB/s": produced_mb_s * REPLICAS,
        "sent by all brokers, MB/s": produced_mb_s * REPLICAS,  # to replicas, and once to a consumer of each
        "brokers": brokers,
        "log per day, TB": produced_mb_s * REPLICAS * 3600 * KEPT_HOURS / 1e6,
        "restore of a lost worker by one successor, s": cost["start_s"]
        + modules / workers * _HORIZON_READINGS / cost["replayed_readings_per_s"],
        "restore by all others together, s": modules
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
    """The plans side by side."""
    plans = [plan(modules, cost) for modules in MODULES]
    shown = Table("")
    for modules in MODULES:
        shown.add_column(f"{modules:,} modules", justify="right")
    for name in plans[0]:
        shown.add_row(name, *(_number(each[name]) for each in plans))
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 or value == int(value) else f"{value:,.1f}"
