"""Memory and time of a worker for very many modules, and reuse of the memory of silent ones.

Each module sends one reading. When event time has advanced by more than the length of a window, the same number of
other modules does the same. The worker then forgets the first ones, so the others should need hardly any more memory.

Example:
    python -m benchmarks.modules --modules 1000000 --json
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from confluent_kafka import Message
from rich.progress import Progress

from benchmarks.harness import PARTITIONS
from benchmarks.model import write_model
from benchmarks.offline import offline_scorer
from common.cli_options import JsonOption
from common.terminal import say, terminal
from local.flagship import FLAGSHIP
from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from worker.config.pipeline import load_pipeline
from worker.consume.message_columns import batch_of
from worker.model.package import load_package

BATCH = 4000
START_MS = 1_780_000_000_000


def measure(modules: int, directory: Path, tell: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Score two generations of modules in this process, without Kafka.

    Args:
        modules: in each generation.
        directory: for the model package.
        tell: called with the number of scored readings.

    Returns:
        Figures: sizes in bytes, times in s.
    """
    pipeline = load_pipeline(FLAGSHIP)
    write_model(directory / "model", pipeline)
    package = load_package(directory / "model", version="1")
    scorer, partitions = offline_scorer(pipeline, package)
    span_ms = package.spec.max_span_ms
    process, figures, scored = psutil.Process(), dict[str, Any](), 0
    figures["rss_bytes_empty"] = process.memory_info().rss
    for generation, name in enumerate(("first", "second")):
        slowest, began = 0.0, time.perf_counter()
        spent = 0.0
        for messages in _batches(modules, generation, START_MS + generation * 2 * span_ms, span_ms // 2):
            started = time.perf_counter()
            outcome = scorer.process(batch_of(messages), partitions)
            scorer.merge(outcome, partitions)
            took = time.perf_counter() - started
            slowest, spent = max(slowest, took), spent + took
            scored += len(outcome.scored.probability)
            tell(scored)
        figures[f"rss_bytes_{name}"] = process.memory_info().rss
        figures[f"held_{name}"] = scorer.windows.held
        figures[f"readings_per_s_{name}"] = round(modules / spent)
        figures[f"slowest_batch_s_{name}"] = round(slowest, 3)
        figures[f"seconds_{name}"] = round(time.perf_counter() - began, 1)
    figures["bytes_per_module"] = round((figures["rss_bytes_first"] - figures["rss_bytes_empty"]) / modules)
    figures["growth_in_second"] = round(figures["rss_bytes_second"] / figures["rss_bytes_first"] - 1, 3)
    return {"modules": modules, "scored": scored, **figures}


def _batches(modules: int, generation: int, start_ms: int, within_ms: int) -> Iterator[list[Message]]:
    """One reading of each module, with event times spread evenly over `within_ms`."""
    schema = load_pipeline(FLAGSHIP).input.avro_schema
    writer, prefix, batch = parsed(schema), single_object_prefix(schema), list[Message]()
    for i in range(modules):
        module, ts = f"G{generation}_Module{i:07}", start_ms + i * within_ms // modules
        sensors = {"voltage_v": 51.0, "current_a": 10.0, "avg_surface_temp_c": 26.0}
        record = {"module_id": module, "rack_id": f"Rack{i // 100}", "ts": ts, **sensors}
        place = {"partition": i % PARTITIONS, "offset": (generation * modules + i) // PARTITIONS}
        value = encode({f["name"]: record.get(f["name"]) for f in schema["fields"]}, writer, prefix)
        batch.append(Message(topic="battery.readings", key=module.encode(), value=value, timestamp=(1, ts), **place))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def main(
    modules: Annotated[int, typer.Option(min=BATCH, help="Modules in each of two generations.")] = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """Memory and time for very many modules, offline, through all stages of a worker except publishing.

    Exit code 1 if a reading was not scored, or modules of the first generation are still in memory.

    Example: python -m benchmarks.modules --modules 1000000 --json
    """
    with (
        tempfile.TemporaryDirectory(prefix="hazardstream-bench-") as directory,
        Progress(console=terminal(stderr=True), disable=not sys.stderr.isatty()) as progress,
    ):
        bar = progress.add_task("readings", total=2 * modules)
        figures = measure(modules, Path(directory), lambda done: progress.update(bar, completed=done))
    if as_json:
        say(json.dumps(figures))
    else:
        for name, value in figures.items():
            say(f"{name:26} {value}")
    if figures["scored"] != 2 * modules or figures["held_second"] > modules:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
