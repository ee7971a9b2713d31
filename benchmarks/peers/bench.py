"""One run of the comparison: a broker, readings, their expected predictions, and the measurement of each contender."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import NewTopic
from rich.progress import Progress
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from benchmarks import harness
from benchmarks.harness import PARTITIONS
from benchmarks.model import write_model
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.clients import complete_rows, post_readings, publish_requests
from benchmarks.peers.environments import environment, jars
from benchmarks.peers.expected import Expected, expected, of_mlserver
from benchmarks.peers.job import Task
from benchmarks.peers.running import Looks, Output, Pace, time_output, wait_for_open_transactions
from benchmarks.readings import Readings, Tell, publish
from benchmarks.throughput import MODULES
from common.errors import UserError
from local.audit import read_all
from local.flagship import FLAGSHIP
from local.java import java
from local.kafka import kafka_broker
from local.process import Server, answers, free_ports, start, stop, wait_until_ready
from schemas.wire import single_object_prefix
from worker.config.pipeline import load_pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.model.package import ModelPackage
from worker.model.package_files import SCALER
from worker.model.scaler import Scaler

ROOT = Path(__file__).parent.parent.parent
REQUESTS = 10_000
_MARKERS_APART = 0.95  # share of the offsets of a topic that are predictions; the rest are transaction markers


@dataclass(frozen=True)
class Result:
    """The result of one contender.

    Attributes:
        pace: of its predictions.
        predictions: number of predictions; all were checked.
        off: how many of them have a probability that differs from ours by more than 1e-6.
        faults: of the predictions; should be empty.
    """

    pace: Pace
    predictions: int
    off: int
    faults: list[str]


@dataclass(frozen=True)
class Bench(harness.Bench):
    """Shared by the contenders.

    Attributes:
        model: the model.
        expected: the readings and their expected predictions.
    """

    model: ModelPackage
    expected: Expected

    def told(self, name: str) -> Tell:
        """A progress bar with this name."""
        return self.shown(name, len(self.expected.features))


@contextmanager
def bench(directory: Path, readings: int, progress: Progress) -> Iterator[Bench]:
    """Start a broker and fill it.

    Raises:
        UserError: it could not be started, or did not accept the readings.
    """
    with kafka_broker(directory / "kafka") as bootstrap:
        base = harness.Bench(directory, bootstrap, progress)
        pipeline = base.pipeline("publish", same_input=True)
        write_model(directory / "model", pipeline)
        source = Readings.until_now(MODULES, readings)
        publish(source, range(readings), pipeline.input.topic, bootstrap, base.shown("publish", readings))
        package = base.package()
        yield Bench(directory, bootstrap, progress, package, expected(pipeline, package, bootstrap))


def worker_result(bench: Bench) -> Result:
    """Measure this project's worker: one process, exactly once."""
    pipeline = bench.pipeline("hazardstream", same_input=True)
    server = bench.worker(pipeline).server
    return _from_topic(bench, server, "hazardstream", pipeline.outputs.predictions.topic, seconds=60.0)


def peer_result(bench: Bench, name: str, peer: Peer) -> Result:
    """Measure a peer in its own environment.

    Raises:
        UserError: its environment cannot be made, or it does not run; the text says why.
    """
    task = _task(bench, name, peer)
    file = Path(task.directory, "task.json")
    task.write(file)
    python = environment(peer.requirements)
    # Imported rather than run as a script: PyFlink and Spark pickle functions, and their workers import the module.
    program = f"import sys; from benchmarks.peers.{peer.module} import main; main(*sys.argv[1:])"
    command = [str(python), "-c", program, str(file), *peer.arguments]
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if peer.jars:
        settings["JAVA_HOME"] = str(Path(java()).resolve().parent.parent)
    server = start(peer.title, command, bench.directory / f"{name}.log", settings)
    if peer.fed == "http":
        return _from_http(bench, server, name, task.port, peer.seconds)
    if peer.fed == "requests":
        return _from_requests(bench, server, name, task, peer.seconds)
    return _from_topic(bench, server, name, task.sink, peer.seconds)


def _task(bench: Bench, name: str, peer: Peer) -> Task:
    pipeline = bench.pipeline(name, same_input=True)
    source = pipeline.input.topic
    if peer.fed == "requests":
        source = f"{name}.requests"
        admin = admin_client(client_config(bench.bootstrap))
        admin.create_topics([NewTopic(source, PARTITIONS, 1)])[source].result()
    scratch = bench.directory / f"{name}-scratch"
    scratch.mkdir()
    model = bench.directory / "model"
    scaler = Scaler.model_validate_json((model / SCALER).read_text())
    reading, prediction = pipeline.records["input"].schema, pipeline.records["predictions"].schema
    return Task(
        bootstrap=bench.bootstrap,
        source=source,
        sink=pipeline.outputs.predictions.topic,
        group=name.replace("_", "-"),
        directory=str(scratch),
        booster=str(model / "booster.ubj"),
        mean=list(scaler.subtract or ()),
        scale=list(scaler.divide or ()),
        divisors=bench.model.spec.scales(dict(pipeline.topology.default)).tolist(),
        spec=json.loads(bench.model.spec.model_dump_json()),
        threshold=bench.model.policy.setpoint,
        reading_schema=reading,
        prediction_schema=prediction,
        reading_prefix=single_object_prefix(reading).hex(),
        prediction_prefix=single_object_prefix(prediction).hex(),
        jars=str(jars(peer.jars)) if peer.jars else "",
        port=free_ports(1)[0],
    )


def _from_topic(bench: Bench, server: Server, name: str, sink: str, seconds: float) -> Result:
    with closing(Output(sink, bench.bootstrap)) as output:
        try:
            pace = time_output(server, output, len(bench.expected.features), seconds, bench.told(name))
        finally:
            stop([server])
        wait_for_open_transactions(sink, bench.bootstrap)
        counted = output.count()
    found = bench.expected.of_avro(read_all(sink, bench.bootstrap), load_pipeline(FLAGSHIP))
    if len(found) < _MARKERS_APART * counted:
        raise UserError(f"{server.name} aborted {counted - len(found)} of {counted} predictions; {server.log_tail()}")
    faults = bench.expected.faults(found) + bench.expected.gaps(found)
    return Result(pace, len(found), bench.expected.off(found), faults)


def _from_requests(bench: Bench, server: Server, name: str, task: Task, seconds: float) -> Result:
    """For a peer that loses requests sent before it listens: repeat one request until it answers."""
    output = Output(task.sink, bench.bootstrap)
    first, *rows = complete_rows(bench.expected, REQUESTS + 1)

    def answered() -> bool:
        server.check_alive()
        publish_requests(bench.expected, [first], task.source, bench.bootstrap)
        return output.count() > 0

    try:
        Retrying(stop=stop_after_delay(60), wait=wait_fixed(0.5), retry=retry_if_result(lambda done: not done))(
            answered
        )
        before = _settled(output)
        publish_requests(bench.expected, rows, task.source, bench.bootstrap)
        pace = time_output(server, output, before + len(rows), 3 * seconds, bench.told(name))
    finally:
        output.close()
        stop([server])
    found = [pair for pair in of_mlserver(read_all(task.sink, bench.bootstrap)) if pair[0] != first]
    return Result(pace, len(found), bench.expected.off(found), bench.expected.faults(found))


def _settled(output: Output) -> int:
    """The count, once it has not changed for a second."""
    before = -1
    while (count := output.count()) != before:
        before = count
        time.sleep(1)
    return count


def _from_http(bench: Bench, server: Server, name: str, port: int, seconds: float) -> Result:
    wait_until_ready([server], lambda: answers(f"http://127.0.0.1:{port}/docs"))
    looks = Looks(server)
    try:
        looks.add(0)
        found = post_readings(bench.expected, port, seconds, bench.told(name))
        looks.add(len(found))
    finally:
        stop([server])
    return Result(
        looks.pace(), len(found), bench.expected.off(found), bench.expected.faults(found) + bench.expected.gaps(found)
    )
