"""Microseconds per reading by stage: in this process at several batch sizes, and in a worker on real Kafka.

Example:
    python -m benchmarks.stages --json
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.checking import output_faults
from benchmarks.draining import time_draining
from benchmarks.harness import Bench, group_of, run
from benchmarks.offline import messages, offline_scorer
from benchmarks.readings import Readings, Tell, in_chunks, publish
from common.cli_options import JsonOption
from local.process import stop
from worker.config.pipeline import Pipeline
from worker.consume.message_columns import batch_of
from worker.encode.encoder import Encoder
from worker.model.package import ModelPackage

MODULES, BATCHES = 1000, (100, 1000, 10_000)
_FULL_WINDOWS = 60 * MODULES
"""Readings that are scored first, so that every window is full, as in operation."""
_SUM = "hazardstream_stage_duration_seconds_sum"
_DEAD_LETTER_MAX_BYTES = 1_000_000


def measure(readings: int, bench: Bench) -> dict[str, Any]:
    """Measure in this process by batch size, then on Kafka.

    Raises:
        UserError: the worker could not be started, or made no progress.
    """
    pipeline = bench.pipeline("stages")
    package = bench.package()
    in_process, faults = {}, {}
    for size in BATCHES:
        told = bench.shown(f"batches of {size:,}", readings)
        in_process[size], scored = _in_process(pipeline, package, readings, size, told)
        faults[f"batches of {size}"] = [] if scored == readings else [f"{scored} of {readings} readings were scored"]
    on_kafka, faults["worker"] = _on_kafka(bench, pipeline, readings)
    return {
        "readings": readings,
        "modules": MODULES,
        "in_process_us": in_process,
        "on_kafka": on_kafka,
        "faults": faults,
    }


def _in_process(
    pipeline: Pipeline, package: ModelPackage, count: int, size: int, tell: Tell
) -> tuple[dict[str, float], int]:
    source = Readings.until_now(MODULES, _FULL_WINDOWS + count)
    inner = defaultdict[str, float](float)
    scorer, partitions = offline_scorer(pipeline, package, _timer(inner))
    encoder = Encoder(pipeline, {}, _DEAD_LETTER_MAX_BYTES)
    seconds, scored = defaultdict[str, float](float), 0
    timed = _timer(seconds)
    for numbers in in_chunks(range(_FULL_WINDOWS)):
        scorer.merge(scorer.process(batch_of(messages(source, numbers, pipeline.input.topic)), partitions), partitions)
    inner.clear()
    for numbers in in_chunks(range(_FULL_WINDOWS, _FULL_WINDOWS + count), size):
        consumed = messages(source, numbers, pipeline.input.topic)
        with timed("take"):
            batch = batch_of(consumed)
        with timed("process"):
            outcome = scorer.process(batch, partitions)
        with timed("encode"):
            outgoing = encoder.records(outcome)
        with timed("merge"):
            scorer.merge(outcome, partitions)
        scored += sum(map(len, outgoing.bulk.values()))
        tell(scored)
    process = seconds.pop("process")
    by_stage = dict(inner) | dict(seconds) | {"between": process - sum(inner.values())}
    return _us_a_reading(by_stage, count), scored


def _timer(seconds: dict[str, float]) -> Callable[[str], AbstractContextManager[None]]:
    """Adds up the CPU time of this thread by stage, which other load on the machine hardly affects."""

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        seconds[stage] += time.thread_time() - started

    return timed


def _on_kafka(bench: Bench, pipeline: Pipeline, count: int) -> tuple[dict[str, Any], list[str]]:
    source = Readings.until_now(MODULES, count)
    publish(source, range(count), pipeline.input.topic, bench.bootstrap)
    worker = bench.worker(pipeline)
    try:
        tell = bench.shown("worker", count)
        group = group_of(pipeline)
        pace = time_draining([worker.server], bench.bootstrap, group, pipeline.input.topic, count, tell)
        metrics = worker.metrics()
    finally:
        stop([worker.server])
    batches = metrics["hazardstream_batch_messages_count"]
    seconds = {name.split("{")[1][:-1]: spent for name, spent in metrics.items() if name.startswith(_SUM)}
    figures = {
        "readings_per_s": round(pace.readings_per_s),
        "clock_us": round(1e6 / pace.readings_per_s, 2),
        "cpu_us": round(1e6 / pace.readings_per_cpu_s, 2),
        "batch_messages": round(metrics["hazardstream_batch_messages_sum"] / batches),
        "stages_us": _us_a_reading(seconds, count),
    }
    return figures, output_faults(source, count, pipeline, bench.bootstrap)


def _us_a_reading(seconds: dict[str, float], count: int) -> dict[str, float]:
    return {stage: round(spent * 1e6 / count, 3) for stage, spent in seconds.items()} | {
        "all": round(sum(seconds.values()) * 1e6 / count, 3)
    }


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    on_kafka = figures["on_kafka"]
    title = f"microseconds per reading, {MODULES:,} modules, full windows, {figures['cpus']} CPUs"
    caption = (
        f"The worker drained {on_kafka['readings_per_s']:,} readings/s in batches of {on_kafka['batch_messages']:,}: "
        f"{on_kafka['clock_us']} us per reading by wall-clock time, {on_kafka['cpu_us']} us of CPU time"
    )
    shown = Table("stage", title=title, title_justify="left", caption=caption, caption_justify="left")
    columns = {f"batches of {int(size):,}": of for size, of in figures["in_process_us"].items()}
    columns["worker on Kafka"] = on_kafka["stages_us"]
    for heading in columns:
        shown.add_column(heading, justify="right")
    stages = dict.fromkeys(stage for of in columns.values() for stage in of)
    for stage in [*(stage for stage in stages if stage != "all"), "all"]:
        shown.add_row(stage, *(f"{of[stage]:.2f}" if stage in of else "" for of in columns.values()))
    return shown


def main(
    readings: Annotated[
        int, typer.Option(min=20_000, help="Readings for each batch size and for the worker.")
    ] = 200_000,
    as_json: JsonOption = False,
) -> None:
    """Time per reading in each stage of a worker.

    First in this process, as CPU time, with real message bytes and full windows: take (messages to columns), decode,
    validate, features, score, alarms, encode, merge, and the time between stages. Then in a worker on Kafka, exactly
    once, by the wall-clock time of its own metrics; its publish stage is the transaction. Exit code 1 if an output does
    not hold every reading exactly once.

    Example: python -m benchmarks.stages --json
    """
    run(partial(measure, readings), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
