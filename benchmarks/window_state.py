"""Aggregates over days: what they cost for each reading, how large their topic is, and how long a restore takes.

Example:
    python -m benchmarks.window_state --keys 100000 --days 30 --json
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.table import Table

from benchmarks.harness import PARTITIONS, Bench, run
from benchmarks.readings import Tell
from common.cli_options import JsonOption
from common.errors import UserError
from common.times import DAY_MS
from schemas.registry import writer_schema_lookup
from schemas.text_column import TextColumn
from worker.config.pipeline import Pipeline, load_pipeline
from worker.encode.window_state import WindowStateOutput
from worker.kafka.client_config import admin_client, client_config, producer
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED, produce
from worker.kafka.topics import create_topics
from worker.observe.metrics import Metrics
from worker.recover.partition_ends import partition_ends
from worker.recover.window_state import WindowStateRestore
from worker.score.aggregates import AggregatedBatch, KeyedAggregates
from worker.score.readings import Origin, Readings
from worker.windows.partition import Partition

_BATCH = 5000
_PATIENCE_S = 600.0
_START_MS = 1_700_006_400_000  # a midnight
_SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "key", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": ["null", "double"], "default": None},
    ],
}
_FILE = """
name: {name}
input: {{topic: {name}.events, schema: Event, key: key, time: at}}
outputs:
  predictions: {{topic: {name}.predictions}}
  dead_letters: {{topic: {name}.dead-letters}}
  window_state: {{topic: {name}.window-state}}
task: regression
model: models:/none@champion
features:
  - {{name: count_7d, kind: count, over: 7d}}
  - {{name: count_{days}d, kind: count, over: {days}d}}
  - {{name: sum_7d, kind: sum, field: amount, over: 7d}}
  - {{name: sum_{days}d, kind: sum, field: amount, over: {days}d}}
  - {{name: mean_{days}d, kind: mean, field: amount, over: {days}d}}
  - {{name: active_{days}d, kind: distinct_days, over: {days}d}}
  - {{name: since, kind: time_since_last, over: {days}d}}
"""


class _Written(NamedTuple):
    """Seconds by stage, records and bytes of values, and the aggregates at the end."""

    aggregates: KeyedAggregates
    compute_s: float
    encode_s: float
    produce_s: float
    records: int
    value_bytes: int


def measure(keys: int, days: int, bench: Bench) -> dict[str, Any]:
    """Each key sends a reading a day; then a successor restores all.

    Raises:
        UserError: the topic could not be read.
    """
    pipeline = _pipeline(bench, days)
    written = _write(pipeline, bench.bootstrap, keys, days, bench.shown("write", keys * days))
    restored, restore_s = _restore(pipeline, bench.bootstrap)
    readings = keys * days
    state_bytes = sum(ring.number.nbytes + ring.content.nbytes for ring in restored.state.rings)
    return {
        "keys": keys,
        "days": days,
        "features": len(pipeline.aggregates),
        "compute_us": round(1e6 * written.compute_s / readings, 2),
        "encode_us": round(1e6 * written.encode_s / readings, 2),
        "produce_us": round(1e6 * written.produce_s / readings, 2),
        "readings_per_s": round(readings / (written.compute_s + written.encode_s + written.produce_s)),
        "records": written.records,
        "value_bytes_per_record": round(written.value_bytes / written.records, 1),
        "topic_mb": round(bench.log_bytes(pipeline.topics["window_state"]) / 1e6, 1),
        "memory_mb": round(state_bytes / 1e6, 1),
        "restore_s": round(restore_s, 2),
        "restored_keys": restored.held,
        "faults": {"restore": _differences(written.aggregates, restored)},
    }


def _pipeline(bench: Bench, days: int) -> Pipeline:
    folder = bench.directory / "window_state"
    folder.mkdir()
    (folder / "Event.avsc").write_text(json.dumps(_SCHEMA))
    (folder / "pipeline.yaml").write_text(_FILE.format(name="window_state", days=days))
    pipeline = load_pipeline(str(folder))
    create_topics(admin_client(client_config(bench.bootstrap)), pipeline, partitions=PARTITIONS, replication_factor=1)
    return pipeline


def _batches(keys: int, days: int) -> Iterator[tuple[Readings, Origin]]:
    """Readings in the order of time; keys of a day in random order, each in its own partition."""
    random = np.random.default_rng(0)
    offset = np.zeros(PARTITIONS, np.int64)
    for day in range(days):
        order = random.permutation(keys)
        for start in range(0, keys, _BATCH):
            key = order[start : start + _BATCH]
            partition, rows = key % PARTITIONS, len(key)
            ts = _START_MS + day * DAY_MS + (DAY_MS * (start + np.arange(rows))) // keys
            texts = [b"user-%07d" % number for number in key.tolist()]
            at = np.empty(rows, np.int64)
            for number in range(PARTITIONS):
                mine = np.flatnonzero(partition == number)
                at[mine] = offset[number] + np.arange(len(mine))
                offset[number] += len(mine)
            amount = np.round(random.exponential(20.0, (rows, 1)), 2)
            column = TextColumn.of(texts)
            readings = Readings(np.arange(rows), column, column, ts, amount, np.ones(amount.shape, np.bool_))
            yield readings, Origin(texts, partition, at, ts)


def _write(pipeline: Pipeline, bootstrap: str, keys: int, days: int, tell: Tell) -> _Written:
    aggregates = _aggregates(pipeline)
    output = WindowStateOutput(pipeline, b"", lambda: "input-id")
    client = producer(client_config(bootstrap), PRODUCER_FIXED, PRODUCER_DEFAULTS)
    partitions = {number: Partition(number, 0, 0, _START_MS) for number in range(PARTITIONS)}
    compute_s = encode_s = produce_s = 0.0
    records = value_bytes = done = 0
    for readings, origin in _batches(keys, days):
        began = time.perf_counter()
        clocks = dict.fromkeys(partitions, int(readings.ts[-1]))
        batch = aggregates.stage(readings, origin, readings.ts, partitions, clocks)
        _ = batch.staged.features
        computed = time.perf_counter()
        outgoing = output.outgoing(batch)
        encoded = time.perf_counter()
        produce(client, outgoing, time.monotonic() + _PATIENCE_S)
        produced = time.perf_counter()
        aggregates.merge(batch)
        for partition in partitions.values():
            partition.clock = clocks[partition.number]
        compute_s += computed - began + time.perf_counter() - produced
        encode_s, produce_s = encode_s + encoded - computed, produce_s + produced - encoded
        messages = [message for of_partition in outgoing.bulk.values() for message in of_partition]
        records += len(messages)
        value_bytes += sum(len(message["value"] or b"") for message in messages)
        done += len(readings.ts)
        tell(done)
    began = time.perf_counter()
    client.flush(_PATIENCE_S)
    return _Written(aggregates, compute_s, encode_s, produce_s + time.perf_counter() - began, records, value_bytes)


def _aggregates(pipeline: Pipeline) -> KeyedAggregates:
    if pipeline.layout is None:
        raise UserError("the pipeline has no aggregates")
    return KeyedAggregates(pipeline.layout, pipeline.input.sensors())


def _restore(pipeline: Pipeline, bootstrap: str) -> tuple[KeyedAggregates, float]:
    """The aggregates that a successor of all partitions reads back, and how long that takes, s."""
    aggregates, config = _aggregates(pipeline), client_config(bootstrap)
    began = time.perf_counter()
    restore = WindowStateRestore(
        config, pipeline, aggregates, writer_schema_lookup(None, pipeline.known_schemas), Metrics()
    )
    ends, unknown = partition_ends(admin_client(config), pipeline, list(range(PARTITIONS)))
    if unknown:
        raise UserError("; ".join(unknown.values()))
    for number, end in ends.items():
        restore.begin(Partition(number, 0, 0), end.states["window_state"], "state-id", "input-id")
    deadline = time.monotonic() + _PATIENCE_S
    while left := [reason for number in ends if (reason := restore.missing(number))]:
        if time.monotonic() > deadline:
            raise UserError("; ".join(left))
        restore.advance(0.05)
    for number in ends:
        restore.finish(number)
    return aggregates, time.perf_counter() - began


def _differences(written: KeyedAggregates, restored: KeyedAggregates) -> list[str]:
    """What is not as it was written: the same readings give other aggregates."""
    readings, origin = next(_batches(min(written.held, _BATCH), 1))
    newest = int(written.state.times(np.arange(1, written.held + 1)).clock.max())
    now = np.full(len(readings.ts), newest)
    readings = replace(readings, ts=now)
    partitions = {number: Partition(number, 0, 0, int(now[0])) for number in range(PARTITIONS)}
    clocks = dict.fromkeys(partitions, int(now[0]))

    def values(of: KeyedAggregates) -> AggregatedBatch:
        return of.stage(readings, origin._replace(offset=origin.offset + 2**40), now, partitions, clocks)

    same = np.array_equal(values(written).staged.features, values(restored).staged.features, equal_nan=True)
    found = [] if same else ["restored aggregates differ"]
    return found if written.held == restored.held else [*found, f"{restored.held} keys instead of {written.held}"]


def table(figures: dict[str, Any]) -> Table:
    """The result as a table."""
    title = f"{figures['keys']:,} keys, a reading a day for {figures['days']} days, {figures['features']} features"
    shown = Table("figure", title=f"{title}; {figures['cpus']} CPUs", title_justify="left")
    shown.add_column("value", justify="right")
    for name in (
        *("compute_us", "encode_us", "produce_us", "readings_per_s", "records", "value_bytes_per_record"),
        *("topic_mb", "memory_mb", "restore_s", "restored_keys"),
    ):
        shown.add_row(name.replace("_", " "), f"{figures[name]:,}")
    return shown


def main(
    keys: Annotated[int, typer.Option(min=PARTITIONS, help="Keys.")] = 100_000,
    days: Annotated[int, typer.Option(min=7, max=400, help="Days of readings, one a day for each key.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Aggregates over days: cost per reading, size of their topic, memory, and time of a restore.

    The cost is that of aggregates alone: computing, encoding records, handing them to the producer. The topic is as
    written, before compaction. Exit code 1 if restored aggregates differ from those written.

    Example: python -m benchmarks.window_state --keys 100000 --days 30 --json
    """
    run(partial(measure, keys, days), table, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
