"""Run workers as processes on the suite's Kafka, feed them, and read what they commit."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import KafkaError, Message, Producer

from local.audit import read, read_all
from local.isolated_pipeline import isolated_pipeline
from local.process import free_ports, http_client
from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry, writer_schema_lookup
from schemas.wire import single_object_prefix
from tests.flagship import MODEL_30, SHIPPED_MODEL, flagship_schema
from tests.forked import Forked
from tests.metric_text import metric_in
from tests.sandbox_note import note_that_it_passed
from worker.alarms.state_machine import AlarmState
from worker.config.pipeline import Pipeline, load_pipeline
from worker.encode.encoder import state_from
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics
from worker.score.decode import WriterSchemaOf

READING = parsed(flagship_schema("SensorReading"))
PREFIX = single_object_prefix(flagship_schema("SensorReading"))
START_MS = 1_780_000_000_000
STOPS_ITSELF = ("-m", "tests.stops_itself")
"""Launcher of a worker that stops itself amid its work; see `Worker.await_stopped`."""
NORMAL = {
    "avg_surface_temp_c": 26.0,
    "max_surface_temp_c": 27.0,
    "voltage_v": 51.0,
    "current_a": 10.0,
    "soc_percent": 50.0,
    "offgas_co_ppm": 20.0,
    "offgas_h2_ppm": 5.0,
    "offgas_voc_ppm": 10.0,
    "ambient_temp_c": 24.0,
}


def reading(module: str, ts: int, **sensors: float | None) -> dict[str, Any]:
    """A reading of a healthy module, but for what is given."""
    return {"module_id": module, "rack_id": "Rack1", "ts": ts, **NORMAL, **sensors}


def avro(record: dict[str, Any]) -> bytes:
    """The reading as a message value."""
    return encode(record, READING, PREFIX)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Poll until the condition gives something true, and return that."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.05
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.2)  # to ask takes CPU time, of the worker too
    raise AssertionError(f"not within {timeout_s} s: {what}")


@dataclass
class Stage:
    """Topics of one test's own, and what is to be run on them."""

    bootstrap: str
    pipeline_file: Path
    directory: Path
    model: Path
    partitions: int = 2
    registry_url: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def pipeline(self) -> Pipeline:
        changed = tuple(
            path.stat().st_mtime_ns for path in (self.pipeline_file, *self.pipeline_file.parent.glob("*.avsc"))
        )
        return _loaded(self.pipeline_file, changed)

    def publish(self, messages: Iterable[tuple[str | bytes | None, bytes | None]], **more: Any) -> None:
        """Produce (key, value) pairs to the input topic and wait until they are there."""
        # Idempotent: a request that is repeated on a loaded machine would otherwise come behind later ones.
        settings = {"message.max.bytes": 8_000_000, "linger.ms": 5, "enable.idempotence": True}
        producer = Producer(client_config(self.bootstrap) | settings)
        failures: list[KafkaError] = []
        topic = self.pipeline.input.topic

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error:
                failures.append(error)

        for key, value in messages:
            producer.produce(topic, value, key, on_delivery=delivered, **more)
            producer.poll(0)
        assert producer.flush(30) == 0
        assert not failures

    def publish_readings(self, readings: Iterable[dict[str, Any]]) -> None:
        self.publish((r["module_id"], avro(r)) for r in readings)

    @contextmanager
    def worker(self, launcher: Sequence[str] = ("-m", "hazardstream"), **settings: str) -> Iterator["Worker"]:
        """A worker process; killed at the end unless it has ended by itself.

        Args:
            launcher: what Python is to run, for a worker that something is to be done to.
            settings: of the worker.
        """
        port = free_ports(1)[0]
        log = self.directory / f"worker-{port}.log"
        environment = {
            "HAZARDSTREAM_PIPELINE": str(self.pipeline_file),
            "HAZARDSTREAM_MODEL": str(self.model),
            "HAZARDSTREAM_HTTP_PORT": str(port),
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "HAZARDSTREAM_CACHE_DIRECTORY": str(self.directory / "cache"),
            "HAZARDSTREAM_INSTANCE_ID": "w1",
            "PATH": "/usr/bin:/bin",
            **({"SCHEMA_REGISTRY_URL": self.registry_url} if self.registry_url else {}),
            **{f"HAZARDSTREAM_{k.upper()}": v for k, v in (self.settings | settings).items()},
            **self.environment,
        }
        if self.model in (SHIPPED_MODEL, MODEL_30) and "model" not in settings:
            note_that_it_passed(self.model, self.pipeline_file, self.directory / "cache")
        process = Forked([*launcher, "worker"], environment, log)
        worker = Worker(process, f"http://127.0.0.1:{port}", log)
        try:
            yield worker
        finally:
            process.kill()
            process.wait()

    def committed(self, role: str) -> list[Message]:
        """All committed records of a topic."""
        return read_all(self.pipeline.topics[role], self.bootstrap)

    def records(self, role: str) -> list[dict[str, Any]]:
        """All committed records of an output topic, decoded; tombstones are left out."""
        return list(self.stream(role))

    def stream(self, role: str) -> Iterator[dict[str, Any]]:
        """As `records`, one by one."""
        return (record for _, record in self.messages(role))

    def messages(self, role: str) -> Iterator[tuple[Message, dict[str, Any]]]:
        """As `stream`, each beside its message: two reads of a topic can differ in the order of its partitions."""
        schema, lookup = self._schema(role), self.writer_schema_of
        for message in read(self.pipeline.topics[role], self.bootstrap):
            if message.value() is not None:
                yield message, decode(message.value(), lookup, schema)

    def alarm_states(self) -> dict[tuple[int, bytes], AlarmState]:
        """What the compacted topic says now, by partition and key."""
        schema, lookup = self._schema("alarm_state"), self.writer_schema_of
        messages = read(self.pipeline.topics["alarm_state"], self.bootstrap)
        latest = {(m.partition(), m.key()): m.value() for m in messages}
        return {place: state_from(decode(v, lookup, schema)) for place, v in latest.items() if v is not None}

    def _schema(self, role: str) -> dict[str, Any]:
        return self.pipeline.records[role].schema

    @property
    def writer_schema_of(self) -> WriterSchemaOf:
        return writer_schema_lookup(
            SchemaRegistry(self.registry_url) if self.registry_url else None, self.pipeline.known_schemas
        )

    def outcomes(self) -> int:
        """Readings scored and records dead-lettered so far."""
        return len(self.committed("predictions")) + sum(1 for _ in self.dead_letters())

    def dead_letters(self) -> Iterator[Message]:
        """All dead letters, without the marks that a redrive leaves among them."""
        messages = read(self.pipeline.topics["dead_letters"], self.bootstrap)
        return (m for m in messages if "hazardstream.reason" in dict(m.headers() or ()))


@lru_cache
def _loaded(pipeline_file: Path, changed: tuple[int, ...]) -> Pipeline:
    """The pipeline of a file, which is asked for again and again and takes 50 ms to load."""
    return load_pipeline(str(pipeline_file))


@dataclass
class Worker:
    """A worker process and its sidecar's address."""

    process: Forked
    address: str
    log: Path

    def get(self, path: str) -> httpx.Response | None:
        try:
            return http_client().get(self.address + path, timeout=5.0)
        except httpx.TransportError:
            assert self.process.poll() is None, f"the worker ended: {self.log.read_text()[-3000:]}"
            return None

    def answer(self, path: str) -> httpx.Response:
        """What the sidecar answers, whatever its status."""
        answer = self.get(path)
        assert answer is not None, f"no answer from {path}"
        return answer

    def await_ready(self) -> None:
        try:
            wait_until(lambda: (r := self.get("/ready")) is not None and r.status_code == 200, "worker ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from error

    def reasons_not_ready(self) -> list[str]:
        """Why /ready says that the worker is not ready; nothing if it is, or if it does not answer."""
        answer = self.get("/ready")
        return [] if answer is None else answer.json().get("reasons", [])

    def await_reason(self, *texts: str, timeout_s: float = 60.0) -> str:
        """Wait until /ready gives reasons with all these texts; returns the reasons, a line each."""
        seen = ""

        def reasons() -> str:
            nonlocal seen
            seen = "\n".join(self.reasons_not_ready())
            return seen if all(text in seen for text in texts) else ""

        try:
            wait_until(reasons, f"/ready says {texts}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {seen}\n{self.log.read_text()[-3000:]}") from error
        return seen

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples with these labels; 0 where the worker has the metric and no such sample yet."""
        answer = wait_until(lambda: self.get("/metrics"), "an answer from /metrics").raise_for_status()
        return metric_in(answer.text, name, **labels)

    def await_consumed(self, count: int) -> None:
        """Wait until this number of messages have been committed by this worker."""
        wait_until(lambda: self.metric("hazardstream_consumed_total") >= count, f"{count} messages consumed")

    def await_scored(self, count: int) -> None:
        """Wait until this number of readings have been scored by this worker."""
        wait_until(lambda: self.metric("hazardstream_scored_total") >= count, f"{count} readings scored")

    def await_stopped(self) -> None:
        """Wait until the worker has stopped itself in a transaction, as one launched with `STOPS_ITSELF` does."""
        state = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "the worker has stopped itself")

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def make_stage(
    bootstrap: str, prefix: str, directory: Path, model: Path, partitions: int = 2, replication_factor: int = 1
) -> Stage:
    """Topics named after the test, and a pipeline file that says so."""
    pipeline_file = isolated_pipeline(prefix.rstrip("."), directory)
    stage = Stage(bootstrap, pipeline_file, directory, model, partitions)
    admin = admin_client(client_config(bootstrap))
    create_topics(admin, stage.pipeline, partitions=partitions, replication_factor=replication_factor)
    return stage
