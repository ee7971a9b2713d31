"""Model swaps under load: latency, and readings that are lost, duplicated, or scored by another version than they name.

Example:
    python -m benchmarks.swaps --seconds 60 --swaps 50 --rate 20000
"""

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import numpy as np
import typer
from fastavro import schemaless_reader
from rich.console import Console

from benchmarks.model import write_model
from benchmarks.steady import Arrivals, encoded_readings, publish_steadily
from common.arrays import Float, Int
from common.errors import UserError
from common.terminal import say, terminal
from local.audit import read
from local.isolated_pipeline import isolated_pipeline
from local.kafka import kafka_broker
from local.mlflow_server import mlflow_server
from local.process import Server, answers, free_ports, http_client, start, stop
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import ARTIFACT_PATH
from worker.consume.message_columns import batch_of
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics
from worker.model.mlflow_client import DIGEST_TAG, mlflow_client
from worker.model.package import MANIFEST, ModelPackage, digest, load_package
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

MODULES, PARTITIONS = 1000, 4
NAME, ALIAS = "benchmark", "champion"
VERSIONS = ("1", "2")
WATCH_MS = 250
_WARM_UP_S = 5.0
_PATIENCE_S = 60.0


@dataclass
class Site:
    """The running servers and their addresses."""

    directory: Path
    bootstrap: str
    mlflow: str
    pipeline: Pipeline
    worker: Server
    address: str

    def point(self, version: str) -> None:
        """Move the alias to a version."""
        with mlflow_client(self.mlflow) as client:
            client.set_registered_model_alias(NAME, ALIAS, version)

    def model(self) -> dict[str, Any]:
        """The worker's model, as its sidecar shows it."""
        self.worker.check_alive()
        answer = http_client().get(f"{self.address}/model", timeout=10.0)
        return dict(answer.json())


@dataclass(frozen=True)
class Account:
    """Faults of the output, and how many readings each version scored."""

    lost: int
    doubled: int
    different: int
    scored_by: dict[str, int]


def register(directory: Path, mlflow: str) -> None:
    """Register a package as the next version."""
    with mlflow_client(mlflow) as client:
        run = client.create_run("0").info.run_id
        client.log_artifacts(run, str(directory), ARTIFACT_PATH)
        tags = {DIGEST_TAG: digest(directory / MANIFEST)}
        client.create_model_version(NAME, f"runs:/{run}/{ARTIFACT_PATH}", run_id=run, tags=tags)


def set_up(stack: ExitStack, directory: Path) -> Site:
    """Broker, MLflow server with two models, and a worker that watches the alias."""
    file = isolated_pipeline("swaps", directory)
    pipeline = load_pipeline(str(file))
    for seed, version in enumerate(VERSIONS):
        write_model(directory / version, pipeline, seed=seed)
    bootstrap = stack.enter_context(kafka_broker(directory / "kafka"))
    create_topics(admin_client(client_config(bootstrap)), pipeline, partitions=PARTITIONS, replication_factor=1)
    mlflow = stack.enter_context(mlflow_server(directory / "mlflow"))
    with mlflow_client(mlflow) as client:
        client.create_registered_model(NAME)
    for version in VERSIONS:
        register(directory / version, mlflow)
    (port,) = free_ports(1)
    environment = {
        "HAZARDSTREAM_PIPELINE": str(file),
        "HAZARDSTREAM_BOOTSTRAP_SERVERS": bootstrap,
        "HAZARDSTREAM_MODEL": f"models:/{NAME}@{ALIAS}",
        "HAZARDSTREAM_TRACKING_URI": mlflow,
        "HAZARDSTREAM_MODEL_WATCH_MS": str(WATCH_MS),
        "HAZARDSTREAM_HTTP_PORT": str(port),
        "HAZARDSTREAM_CACHE_DIRECTORY": str(directory / "cache"),
    }
    command = [sys.executable, "-m", "hazardstream", "worker"]
    with mlflow_client(mlflow) as client:
        client.set_registered_model_alias(NAME, ALIAS, VERSIONS[0])
    worker = start("the worker", command, directory / "worker.log", environment)
    stack.callback(stop, [worker])
    site = Site(directory, bootstrap, mlflow, pipeline, worker, f"http://127.0.0.1:{port}")
    _await(lambda: answers(f"{site.address}/ready"), "the worker is ready", worker)
    # A new version is checked in a separate process for some seconds before it can be swapped in.
    for version in reversed(VERSIONS):
        site.point(version)
        _await(lambda version=version: site.model()["version"] == version, f"version {version} scores", worker)
    return site


def _await(condition: Any, what: str, worker: Server) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        worker.check_alive()
        if time.monotonic() > deadline:
            raise UserError(f"not within {_PATIENCE_S:.0f} s: {what}; {worker.log_tail()}")
        time.sleep(0.1)


def swap_regularly(site: Site, seconds: float, swaps: int) -> None:
    """Move the alias back and forth."""
    begun = time.monotonic()
    for number in range(swaps):
        site.point(VERSIONS[(number + 1) % len(VERSIONS)])
        time.sleep(max(begun + (number + 1) * seconds / swaps - time.monotonic(), 0))


def offline(site: Site, packages: dict[str, ModelPackage]) -> tuple[dict[str, dict[int, Float]], dict[int, Int]]:
    """What each version predicts for each input record, and its Kafka timestamp, by partition and offset."""
    source = site.pipeline.input
    first = packages[VERSIONS[0]]
    scorer = scorer_of(site.pipeline, first, first.policy, writer_schema_lookup(None, site.pipeline.known_schemas))
    partitions = {number: Partition(number, 0, 0) for number in range(PARTITIONS)}
    for number in partitions:
        scorer.alarms.assign(number, {})
    parts: list[tuple[Int, Int, Int, list[Float]]] = []
    messages = read(source.topic, site.bootstrap)
    while some := list(islice(messages, 20_000)):
        batch = batch_of(some)
        outcome = scorer.process(batch, partitions)
        scorer.merge(outcome, partitions)
        scored = outcome.scored
        row = scored.readings.row
        given = [packages[v].score(scored.features.numbers) for v in VERSIONS]
        parts.append((batch.partition[row], batch.offset[row], batch.broker_ts[row], given))
    partition, offset, stamp = (np.concatenate([p[i] for p in parts]) for i in range(3))
    order = {n: np.flatnonzero(partition == n)[np.argsort(offset[partition == n])] for n in range(PARTITIONS)}
    given = [np.concatenate([p[3][i] for p in parts]) for i in range(len(VERSIONS))]
    by_version = {v: {n: given[i][rows] for n, rows in order.items()} for i, v in enumerate(VERSIONS)}
    return by_version, {n: stamp[rows] for n, rows in order.items()}


def account(site: Site, expected: dict[str, dict[int, Float]]) -> Account:
    """Read the whole output, and compare it with what its versions give offline."""
    output = site.pipeline.outputs
    schema = output.predictions.avro_schema
    whole, prefix = parsed(schema), len(single_object_prefix(schema))
    probability = output.schema_name("probability")
    seen = {n: np.zeros(len(p), np.int64) for n, p in expected[VERSIONS[0]].items()}
    different, scored_by = 0, dict.fromkeys(VERSIONS, 0)
    for message in read(output.predictions.topic, site.bootstrap):
        # The strict decoder would take as long as the run.
        record = schemaless_reader(BytesIO(message.value()[prefix:]), whole, None)
        number, offset, version = record["source_partition"], record["source_offset"], record["model_version"]
        seen[number][offset] += 1
        scored_by[version] += 1
        different += bool(record[probability] != expected[version][number][offset])
    counts = np.concatenate(list(seen.values()))
    return Account(int((counts == 0).sum()), int((counts > 1).sum()), different, scored_by)


def measure(directory: Path, seconds: float, swaps: int, rate: int, console: Console) -> dict[str, Any]:
    """Load one worker without swaps, then with swaps; then check the output of both."""
    with ExitStack() as stack:
        site = set_up(stack, directory)
        calm_s = max(seconds / 2, _WARM_UP_S * 2)
        readings = int((calm_s + seconds) * rate)
        console.print(f"{readings:,} readings: preparing …")
        messages = list(encoded_readings(site.pipeline, MODULES, readings))
        with Arrivals(site.pipeline.outputs.predictions.topic, site.bootstrap) as arrivals:
            topic, calm = site.pipeline.input.topic, int(calm_s * rate)
            console.print(f"{rate:,} readings/s: {calm_s:.0f} s without swaps …")
            begun_ms = time.time() * 1000
            publish_steadily(topic, site.bootstrap, iter(messages[:calm]), rate)
            console.print(f"{seconds:.0f} s with {swaps} swaps …")
            swapping_ms = time.time() * 1000
            swapping = Thread(target=swap_regularly, args=(site, seconds, swaps))
            swapping.start()
            publish_steadily(topic, site.bootstrap, iter(messages[calm:]), rate)
            swapping.join()
            _await(lambda: arrivals.count >= readings, "all readings are scored", site.worker)
        watch = site.model()["watch"]
        done = watch["swaps"] - len(VERSIONS)
        stop([site.worker])
        console.print(f"{done} swaps; comparing the output with what each version gives offline …")
        packages = {v: load_package(directory / v, version=v) for v in VERSIONS}
        expected, stamps = offline(site, packages)
        found = account(site, expected)
        at = arrivals.at_ms()
    stamp = np.concatenate([stamps[n] for n in stamps])
    latency = np.concatenate([at[n][: len(stamps[n])] - stamps[n] for n in stamps])
    without = latency[(stamp >= begun_ms + _WARM_UP_S * 1000) & (stamp < swapping_ms)]
    during = latency[stamp >= swapping_ms]
    return {
        "seconds": seconds,
        "rate": rate,
        "readings": readings,
        "swaps": done,
        "refused": watch["refused"],
        **found.__dict__,
        "latency_ms": {"without": _percentiles(without), "during": _percentiles(during)},
        "p99_ratio": round(float(np.percentile(during, 99) / np.percentile(without, 99)), 3),
        "cpus": os.cpu_count(),
    }


def _percentiles(latency_ms: Int) -> dict[str, float]:
    found = {f"p{q}": float(np.percentile(latency_ms, q)) for q in (50, 99)}
    return found | {"max": float(latency_ms.max())}


def main(
    seconds: Annotated[float, typer.Option(min=1, help="Seconds with swaps, after half as many without.")] = 60,
    swaps: Annotated[int, typer.Option(min=1, help="Number of swaps in that time.")] = 50,
    rate: Annotated[int, typer.Option(min=100, help="Readings per second.")] = 20_000,
) -> None:
    """Swap models under load, on a broker and an MLflow server started here; prints one JSON line.

    Exit code 1 if a reading was lost, duplicated or scored differently than its version does offline, or a swap was
    missed.

    Example: python -m benchmarks.swaps --seconds 60 --swaps 50 --rate 20000
    """
    console = terminal(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="hazardstream-bench-") as directory:
            result = measure(Path(directory), seconds, swaps, rate, console)
    except UserError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(2) from error
    say(json.dumps(result))
    if result["lost"] or result["doubled"] or result["different"] or result["swaps"] < swaps:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
