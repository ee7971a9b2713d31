"""What a worker needs goes away and comes back: it says so in `/ready`, goes on by itself, and loses nothing."""

import itertools
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.kafka import broker_pids, kafka_broker
from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry
from schemas.wire import confluent_prefix
from tests.flagship import flagship_schema
from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import START_MS, STOPS_ITSELF, Stage, Worker, make_stage, reading, wait_until
from tests.models import renamed, resealed
from tests.tcp_gate import tcp_gate
from tests.uninterrupted import assert_equals_uninterrupted_run
from training.registry.register import register_package

JUMPING_CLOCK = ("-m", "tests.jumping_clock")
Spoil = Callable[[Worker, Path], None]

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def await_reason(worker: Worker, words: str) -> None:
    """Wait until `/ready` is 503 and says why, and see that `/live` is green all the same."""
    worker.await_reason(words)
    assert worker.answer("/live").status_code == 200


def await_outcomes(stage: Stage, worker: Worker) -> None:
    expected = expected_outcomes(stage)
    try:
        wait_until(lambda: stage.outcomes() >= expected, "all outcomes")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{worker.log.read_text()[-3000:]}") from error


class Broker:
    """A broker of the test's own, to be killed and started again on the same address and data."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._running = directory, ExitStack()

    def start(self) -> str:
        return self._running.enter_context(kafka_broker(self._directory))

    def signal(self, number: signal.Signals) -> None:
        for pid in broker_pids(self._directory):
            os.kill(pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._running.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka")
    yield broker
    broker.kill()


@pytest.fixture
def own_stage(broker: Broker, tmp_path: Path, model_package: Path) -> Stage:
    """Topics on the test's own broker, with a fleet's readings."""
    stage = make_stage(broker.start(), "own.", tmp_path, model_package)
    stage.publish(fleet_content(stage))
    return stage


def test_a_broker_that_is_down_at_start(own_stage: Stage, broker: Broker) -> None:
    broker.kill()
    with own_stage.worker() as worker:
        await_reason(worker, "waiting for broker")
        assert broker.start() == own_stage.bootstrap
        await_outcomes(own_stage, worker)
        worker.await_ready()
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(own_stage)


def test_a_broker_that_is_killed_while_readings_are_scored(own_stage: Stage, broker: Broker) -> None:
    # Longer than the outage: a broker without any other, which starts while a transaction is overdue, may forget to end
    # it ("likely deleted already and hence can be skipped" in its log), and the next one then commits its records too.
    # The same happens to a commit that such a broker had promised and not carried out when it was killed, which
    # docs/operations.md tells of: so the worker is held, and what it asked for is given time to end.
    settings = {"batch_max_messages": "20", "transaction_timeout_ms": "60000"}
    with own_stage.worker(STOPS_ITSELF, **settings) as worker:
        worker.await_stopped()
        time.sleep(1.0)
        broker.kill()
        worker.process.send_signal(signal.SIGCONT)
        await_reason(worker, "waiting for broker")
        assert broker.start() == own_stage.bootstrap
        await_outcomes(own_stage, worker)
        worker.await_ready()
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(own_stage)


def test_a_broker_that_hangs_for_longer_than_a_transaction_may_last(own_stage: Stage, broker: Broker) -> None:
    settings = {"batch_max_messages": "20", "transaction_timeout_ms": "2000"}
    with own_stage.worker(STOPS_ITSELF, **settings) as worker:
        worker.await_stopped()
        broker.signal(signal.SIGSTOP)
        worker.process.send_signal(signal.SIGCONT)
        time.sleep(6.0)  # the broker would be taken for dead by its own controller after 9
        broker.signal(signal.SIGCONT)
        await_outcomes(own_stage, worker)
        worker.await_ready()
        noticed = "dependency_waits_total", "transactions_aborted_total", "restarts_total"
        assert any(worker.metric(f"hazardstream_{name}") > 0 for name in noticed)
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(own_stage)


def test_a_broker_that_is_killed_while_the_worker_has_nothing_to_do(own_stage: Stage, broker: Broker) -> None:
    with own_stage.worker() as worker:
        await_outcomes(own_stage, worker)
        worker.await_ready()
        broker.kill()
        await_reason(worker, "waiting for broker")
        assert broker.start() == own_stage.bootstrap
        worker.await_ready()
        own_stage.publish(fleet_content(own_stage, steps=450)[-400:])
        await_outcomes(own_stage, worker)
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(own_stage)


@pytest.mark.registry
def test_a_registry_that_is_down_while_readings_are_scored(stage: Stage, registry: str) -> None:
    client, schema = SchemaRegistry(registry), flagship_schema("SensorReading")
    subject = f"{stage.pipeline.input.topic}-value"
    known = confluent_prefix(client.register(subject, schema))
    later = schema | {"fields": [*schema["fields"], {"name": "firmware", "type": "string", "default": ""}]}
    unknown = confluent_prefix(client.register(subject, later))

    def publish(module: str, times: range, prefix: bytes) -> None:
        writer = parsed(schema if prefix == known else later)
        values = (encode(reading(module, START_MS + t * 10_000), writer, prefix) for t in times)
        stage.publish(((module, value) for value in values), partition={"a": 0, "b": 1}[module])

    with tcp_gate(registry) as (gate, address):
        stage.registry_url = address
        with stage.worker() as worker:
            publish("a", range(5), known)
            publish("b", range(5), known)
            worker.await_scored(10)
            gate.shut()
            publish("a", range(5, 10), known)
            worker.await_scored(15)
            assert worker.answer("/ready").status_code == 200
            publish("a", range(10, 15), known)
            publish("a", range(15, 20), unknown)
            publish("a", range(20, 25), known)
            await_reason(worker, "waiting for schema registry")
            # What comes before the unknown one, and the other partition, go on.
            publish("b", range(5, 20), known)
            worker.await_scored(35)
            await_reason(worker, "waiting for schema registry")
            assert stage.committed("dead_letters") == []
            gate.open()
            worker.await_scored(45)
            worker.await_ready()
            assert worker.stop() == 0
        expected = assert_equals_uninterrupted_run(stage)
    assert len(expected.probability) == 45
    assert expected.rejected == {}


def test_mlflow_that_is_down_at_start(stage: Stage, mlflow_url: str, tmp_path: Path, unique_name: str) -> None:
    package = renamed(stage.model, tmp_path / "package", unique_name)
    register_package(package, tracking_uri=mlflow_url)
    stage.publish(fleet_content(stage, steps=20))
    with tcp_gate(mlflow_url) as (gate, address):
        settings = {"model": f"models:/{unique_name}@champion", "tracking_uri": address}
        gate.shut()
        with stage.worker(**settings) as worker:
            await_reason(worker, "waiting for mlflow")
            assert stage.outcomes() == 0
            gate.open()
            worker.await_ready()
            assert worker.stop() == 0
        # What was fetched once serves while it is down.
        gate.shut()
        stage.publish(fleet_content(stage, steps=40)[-240:])
        with stage.worker(**settings) as worker:
            worker.await_ready()
            assert worker.answer("/model").json()["version"] == "1"
            await_outcomes(stage, worker)
            assert worker.stop() == 0
        assert "last good model used" in worker.log.read_text()
    assert_equals_uninterrupted_run(stage)


def no_room(worker: Worker, cache: Path) -> None:
    """Files of this process can grow to 50 kB: enough for its log, and less than a model."""
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


def room_again(worker: Worker, cache: Path) -> None:
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def in_the_way(worker: Worker, cache: Path) -> None:
    cache.write_text("no directory")


def out_of_the_way(worker: Worker, cache: Path) -> None:
    cache.unlink()


@pytest.mark.parametrize(
    ("spoil", "mend"), [(no_room, room_again), (in_the_way, out_of_the_way)], ids=["no-room", "not-a-directory"]
)
def test_a_model_cache_that_cannot_be_written(
    stage: Stage, mlflow_url: str, tmp_path: Path, unique_name: str, spoil: Spoil, mend: Spoil
) -> None:
    package = renamed(stage.model, tmp_path / "package", unique_name)
    register_package(package, tracking_uri=mlflow_url)
    stage.publish(fleet_content(stage, steps=20))
    cache = tmp_path / "cache"
    settings = {"model": f"models:/{unique_name}@champion", "tracking_uri": mlflow_url}
    with stage.worker(**settings) as worker:
        spoil(worker, cache)
        await_reason(worker, "waiting for model cache")
        assert stage.outcomes() == 0
        mend(worker, cache)
        worker.await_ready()
        await_outcomes(stage, worker)
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_a_model_cache_without_room_for_a_new_version_keeps_the_last_good_one(
    stage: Stage, mlflow_url: str, tmp_path: Path, unique_name: str
) -> None:
    package = renamed(stage.model, tmp_path / "package", unique_name)
    register_package(package, tracking_uri=mlflow_url)
    settings = {"model": f"models:/{unique_name}@champion", "tracking_uri": mlflow_url}
    with stage.worker(**settings) as worker:
        worker.await_ready()
        assert worker.stop() == 0
    newer = resealed(shutil.copytree(package, tmp_path / "newer"), created_at="later")
    register_package(newer, tracking_uri=mlflow_url)
    with stage.worker(**settings) as worker:
        no_room(worker, tmp_path)
        worker.await_ready()
        assert worker.answer("/model").json()["version"] == "1"
        assert "File too large" in worker.log.read_text()
    with stage.worker(**settings) as worker:
        worker.await_ready()
        assert worker.answer("/model").json()["version"] == "2"


def test_a_wall_clock_that_jumps_by_hours(stage: Stage) -> None:
    stage.publish(fleet_content(stage))
    with stage.worker(JUMPING_CLOCK, batch_max_messages="50") as worker:
        await_outcomes(stage, worker)
        assert worker.answer("/live").status_code == 200
        worker.await_ready()
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)
    scored_at = [r["scored_at"] for r in stage.records("predictions")]
    assert max(scored_at) - min(scored_at) > 10 * 3_600_000, "the clock did not jump"
    assert any(b < a for a, b in itertools.pairwise(scored_at)), "the clock did not jump back"
