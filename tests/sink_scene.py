"""Output topics with records of all kinds, sinks that store them, and what is stored compared with the topics."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.dataset as ds
import sqlalchemy as sa
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from local.audit import read
from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from sink.app import Given, run_sink
from sink.engine import database_url, reading_engine
from tests.harness import Stage, wait_until
from tests.repository import ROOT
from worker.config.settings import load_settings
from worker.encode.dead_letter import ERRORS, REASON
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topic_reader import TopicReader

Address: TypeAlias = tuple[str, int, int]
"""Table, partition and offset of a record."""
TABLES = ("predictions", "alarms", "dead_letters", "requests")


@dataclass
class Scene:
    """The topics of one pipeline.

    Attributes:
        stage: its topics.
        seed: of what is published.
        topics: the topic of each table.
    """

    stage: Stage
    seed: int = 7

    def __post_init__(self) -> None:
        self._random, self._pipeline = random.Random(self.seed), self.stage.pipeline
        self.topics = {name: self._pipeline.topics.get(name, f"{self._pipeline.name}.requests") for name in TABLES}
        schemas = {role: self._pipeline.records[role].schema for role in ("predictions", "alarms")}
        self._written = {role: (parsed(schema), single_object_prefix(schema)) for role, schema in schemas.items()}
        self.renew_producer()
        self._published = 0
        admin = admin_client(client_config(self.stage.bootstrap))
        requests = NewTopic(self.topics["requests"], self.stage.partitions, 1)
        admin.create_topics([requests])[requests.topic].result()

    def renew_producer(self) -> None:
        """Publish with another producer: a topic that is created again does not go on with its sequence numbers."""
        self._producer = Producer(
            client_config(self.stage.bootstrap) | {"transactional.id": self._pipeline.name, "linger.ms": 5}
        )
        self._producer.init_transactions(30)

    def publish(self, records: int) -> None:
        """Publish some records of each kind in one transaction, after one that is aborted."""
        for kept in (False, True):
            self._producer.begin_transaction()
            for _ in range(records if kept else 3):
                self._published += 1
                self._publish_one(self._published)
            (self._producer.commit_transaction if kept else self._producer.abort_transaction)(30)
        # A broker writes the markers of a transaction a moment after it has answered the commit.
        with TopicReader(client_config(self.stage.bootstrap)) as reader:
            topics = self.topics.values()
            wait_until(
                lambda: all(reader.spans(topic) == reader.spans(topic, committed=False) for topic in topics),
                "all records are committed",
            )

    def _publish_one(self, number: int) -> None:
        partition, key = self._random.randrange(self.stage.partitions), f"M{number % 17}"
        self._send("predictions", partition, key, self.encoded("predictions", prediction(key, number)))
        if number % 11 == 0:
            self._send("predictions", partition, key, b"\xc3\x01 no record")
        if number % 5 == 0:
            self._send("alarms", partition, key, self.encoded("alarms", alarm(key, number)))
            headers = {REASON: "malformed", ERRORS + "topic": "t", ERRORS + "partition": "0", ERRORS + "offset": "1"}
            self._send("dead_letters", partition, None, None if number % 2 else bytes([number % 256]), headers)
            self._send("requests", partition, key, json.dumps(request(number)).encode())
        self._producer.poll(0)

    def _send(
        self, table: str, partition: int, key: str | None, value: bytes | None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._producer.produce(self.topics[table], value, key, partition, headers=dict(headers or {}))

    def encoded(self, role: str, record: dict[str, Any]) -> bytes:
        """A record as a message value."""
        return encode(record, *self._written[role])

    def command(self, to: str, *more: str) -> list[str]:
        """The command of a sink of these topics."""
        pipeline = ["--pipeline", str(self.stage.pipeline_file), "--bootstrap", self.stage.bootstrap]
        requests = ["--request-log", self.topics["requests"]]
        return [sys.executable, "-m", "hazardstream", "sink", "--to", to, *pipeline, *requests, *more]

    @contextmanager
    def sink(self, to: str, *more: str, log: str = "sink.log") -> Iterator["subprocess.Popen[bytes]"]:
        """A sink process, killed at the end unless it has ended."""
        path = self.stage.directory / log
        with path.open("ab") as output:
            process = subprocess.Popen(self.command(to, *more), cwd=ROOT, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def store_all(self, to: str, **more: Any) -> None:
        """Store what the topics hold now, in this process."""
        settings = load_settings(pipeline=str(self.stage.pipeline_file), bootstrap_servers=self.stage.bootstrap)
        given = Given(to=to, request_log=self.topics["requests"], once=True, **more)
        assert run_sink(settings, given, threading.Event())

    def await_stored(self, to: str) -> None:
        """Wait until the destination holds the last records that are there now."""
        expected = set(self.in_topics())
        wait_until(lambda: expected <= {address for address, _ in stored(to)}, "all records are stored", 90)

    def in_topics(self) -> dict[Address, Any]:
        """The committed records: those that can be read by their content, others by their bytes."""
        lookup = writer_schema_lookup(None, self._pipeline.known_schemas)
        found: dict[Address, Any] = {}
        for table, topic in self.topics.items():
            for message in read(topic, self.stage.bootstrap):
                value, content = message.value(), message.value()
                if table in {"predictions", "alarms"} and not value.endswith(b"no record"):
                    record = decode(value, lookup, self._pipeline.records[table].schema)
                    content = (record["module_id"], record["hazard_probability"])
                elif table == "requests":
                    content = json.loads(value)["request_id"]
                found[table, message.partition(), message.offset()] = content
        return found

    def compare(self, to: str) -> dict[str, int]:
        """How many records of the topics are missing in a destination, doubled, different, or not in the topics."""
        expected, addresses = self.in_topics(), stored(to)
        found = dict(addresses)
        differing = sum(1 for address in expected.keys() & found.keys() if expected[address] != found[address])
        return {
            "records": len(expected),
            "missing": len(expected.keys() - found.keys()),
            "doubled": len(addresses) - len(found),
            "differing": differing,
            "foreign": len(found.keys() - expected.keys()),
        }


def stored(to: str) -> list[tuple[Address, Any]]:
    """Address and content of each stored row, also of unreadable records."""
    found = []
    for table in (*TABLES, "unreadable"):
        for row in rows_of(to, table):
            address = (row.get("table_name") or table, row["kafka_partition"], row["kafka_offset"])
            found.append((address, _content(table, row)))
    return found


def _content(table: str, row: Mapping[str, Any]) -> Any:
    if table in {"predictions", "alarms"}:
        return row["module_id"], row["hazard_probability"]
    return row["request_id"] if table == "requests" else row["raw_value"]


def rows_of(to: str, table: str) -> list[dict[str, Any]]:
    """All rows of a table; none if it does not exist yet."""
    if to.startswith("parquet:"):
        directory = Path(to.removeprefix("parquet:")) / table
        files = [path for path in directory.rglob("*.parquet") if not path.name.startswith(".")]
        return [row for path in files for row in ds.dataset(path).to_table().to_pylist()]
    if to.startswith("sqlite") and not Path(to.removeprefix("sqlite:///")).exists():
        return []
    engine = reading_engine(database_url(to))
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(table):
                return []
            rows = connection.execute(sa.select(sa.text("*")).select_from(sa.table(table)))
            return [dict(row) for row in rows.mappings()]
    finally:
        engine.dispose()


def prediction(key: str, number: int) -> dict[str, Any]:
    """A prediction of the flagship pipeline."""
    return {
        "module_id": key,
        "rack_id": "Rack1",
        "ts": 1_780_000_000_000 + number,
        "hazard_probability": number / 1e6,
        "hazardous": number % 2 == 0,
        "threshold": 0.5,
        "model_name": "m",
        "model_version": "1",
        "readings_in_window": 1,
        "imputed": ["voltage_v"] if number % 3 == 0 else [],
        "masked": [],
        "source_topic_id": "",
        "source_partition": 0,
        "source_offset": number,
        "scored_at": 1_780_000_000_000,
    }


def alarm(key: str, number: int) -> dict[str, Any]:
    """A transition of an alarm of the flagship pipeline."""
    cause = {"feature": "voltage_v", "value": float("nan"), "per": None, "contribution": 1.5}
    return {
        "alarm_id": f"a{number}",
        "module_id": key,
        "rack_id": "Rack1",
        "state": "ACTIVE",
        "priority": "HIGH",
        "onset_ts": 1_780_000_000_000,
        "ts": 1_780_000_000_000,
        "hazard_probability": number / 1e6,
        "peak_probability": 0.9,
        "contributions": [cause],
        "other_contributions": 0.0,
        "bias": 0.0,
        "model_name": "m",
        "model_version": "1",
        "source_topic_id": "",
        "source_partition": 0,
        "source_offset": number,
    }


def request(number: int) -> dict[str, Any]:
    """A request to `hazardstream serve`."""
    return {
        "request_id": f"r{number}",
        "received_at": "2026-01-31T12:00:00.123Z",
        "path": "/v1/predict",
        "pipeline": "p",
        "model_name": "m",
        "model_version": "1",
        "rows": 1,
        "status": 200,
        "duration_ms": 1.5,
        "error": None,
    }
