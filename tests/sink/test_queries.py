"""What `hazardstream logs`, `hazardstream stats` and the HTTP routes say of what is stored."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sink.engine import database_url, reading_engine
from sink.http import stored_routes
from sink.queries import newest_rows
from sink.sql_store import SqlStore
from tests.commands import hazardstream
from tests.sink.records import TOPIC, part, record_of, table, written

RECORD = record_of(("model_name", "string"), ("model_version", "string"), ("value", "double"))
LONG_KEY = "k" * 5000
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
def stored(database: str) -> str:
    """Ten predictions of two versions within the last minute, one of two days ago, and one that is unreadable."""
    store, made = SqlStore(database_url(database)), table(RECORD)
    store.prepare({"predictions": TOPIC})
    batch = part(made, [prediction(i) for i in range(11)] + [b"?"])
    for row in batch.rows:
        age = timedelta(days=2) if row["kafka_offset"] == 0 else timedelta(seconds=20 - row["kafka_offset"])
        row["kafka_timestamp"] = datetime.fromtimestamp(NOW_MS / 1000, UTC) - age
        row["kafka_key"] = LONG_KEY if row["kafka_offset"] == 3 else "[bold]k"
    store.write([batch])
    store.close()
    return database


def prediction(number: int) -> bytes:
    value = float("nan") if number == 10 else number / 2
    return written(RECORD, {"model_name": "m", "model_version": f"{number % 2}", "value": value})


@pytest.fixture
def client(stored: str) -> Iterator[TestClient]:
    engine = reading_engine(database_url(stored))
    app = FastAPI()
    app.include_router(stored_routes(engine))
    with TestClient(app) as made:
        yield made
    engine.dispose()


def test_the_newest_rows_come_first_with_filters(client: TestClient) -> None:
    def offsets(**query: Any) -> list[int]:
        return [row["kafka_offset"] for row in client.get("/logs", params=query).raise_for_status().json()]

    assert offsets(limit=3) == [10, 9, 8]
    assert offsets(key=LONG_KEY) == [3]
    assert offsets(key=LONG_KEY[:-1]) == []
    since = datetime.fromtimestamp(NOW_MS / 1000, UTC) - timedelta(seconds=12)
    assert offsets(since=since.isoformat()) == [10, 9, 8]
    assert offsets(since=since.astimezone(timezone(timedelta(hours=5))).isoformat()) == [10, 9, 8]
    assert offsets(since=since.replace(tzinfo=None).isoformat()) == [10, 9, 8]
    newest = client.get("/logs", params={"limit": 1}).json()[0]
    assert newest["value"] is None
    assert newest["kafka_timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"table": "nothing"}, 404),
        ({"table": "'; DROP TABLE predictions --"}, 404),
        ({"table": "a\0"}, 404),
        ({"key": "a\0b"}, 200),
        ({"limit": 0}, 422),
        ({"limit": 10**30}, 422),
        ({"since": "yesterday"}, 422),
        ({"since": "0001-01-01T00:00:00+14:00"}, 200),
        ({"since": "9999-12-31T23:59:59-14:00"}, 200),
    ],
)
def test_unusual_requests_are_answered(client: TestClient, query: dict[str, Any], status: int) -> None:
    assert client.get("/logs", params=query).status_code == status


def test_predictions_are_counted_by_model_version_and_hour(client: TestClient) -> None:
    rows = client.get("/metrics/models").raise_for_status().json()

    assert sum(row["predictions"] for row in rows) == 10
    assert {(row["model_name"], row["model_version"]) for row in rows} == {("m", "0"), ("m", "1")}
    assert rows[0]["hour"] == datetime.fromtimestamp(NOW_MS / 1000, UTC).strftime("%Y-%m-%dT%H:00:00Z") or len(rows) > 2
    long_ago = {"since": (datetime.now(UTC) - timedelta(days=3)).isoformat()}
    assert sum(row["predictions"] for row in client.get("/metrics/models", params=long_ago).json()) == 11


def test_the_database_is_described(client: TestClient) -> None:
    found = client.get("/database/stats").raise_for_status().json()

    assert found["tables"]["predictions"]["rows"] == 11
    assert found["bytes"] > 10_000
    assert found["unreadable"] == [{"table_name": "predictions", "reason": "malformed", "records": 1}]


def test_a_database_that_is_down_is_503() -> None:
    app = FastAPI()
    app.include_router(stored_routes(reading_engine(database_url("postgresql://nobody@127.0.0.1:9/none"))))

    for path in ("/logs", "/metrics/models", "/database/stats"):
        assert TestClient(app).get(path).status_code == 503


def test_the_commands_show_the_same(stored: str) -> None:
    logs = hazardstream("logs", "--database", stored, "--limit", "2")
    stats = hazardstream("stats", "--database", stored, COLUMNS="80")
    as_json = hazardstream("stats", "--database", stored, "--json")

    assert [json.loads(line)["kafka_offset"] for line in logs.stdout.splitlines()] == [10, 9]
    assert "unreadable in predictions: 1 (malformed)" in stats.stdout
    assert re.search(r"T\d\d:00Z │ m +│ 1 ", stats.stdout)
    assert "…" not in stats.stdout
    assert json.loads(as_json.stdout.splitlines()[-1])["tables"]["predictions"]["rows"] == 11


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["logs", "--database", "sqlite:////nowhere/x.sqlite"], "there is no database /nowhere/x.sqlite yet"),
        (["logs", "--database", "oracle://x"], "oracle is not supported; use sqlite, postgresql or parquet"),
        (["stats", "--database", "nonsense"], "nonsense is no address of a database"),
        (["stats", "--database", "parquet:x"], "read them with pandas, DuckDB or Spark"),
        (["sink", "--to", "sqlite:////nowhere/x.sqlite"], "there is no directory /nowhere"),
        (["sink", "--to", "sqlite://"], "a database in memory is gone with the process"),
        (["sink", "--to", "parquet:"], "parquet: needs a directory"),
        (["sink", "--role", "nothing"], "has predictions"),
    ],
)
def test_mistakes_are_explained(command: list[str], told: str) -> None:
    done = hazardstream(*command)

    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.postgresql
def test_times_are_shown_whatever_the_time_zone_of_the_server(postgresql_url: str) -> None:
    schema = record_of(("at", {"type": "long", "logicalType": "timestamp-millis"}), name="Ancient")
    store, first_of_all = SqlStore(database_url(postgresql_url)), -62_135_596_800_000
    store.prepare({"predictions": TOPIC})
    store.write([part(table(schema), [written(schema, {"at": first_of_all})])])

    url = database_url(f"{postgresql_url}?options=-c%20timezone%3DAmerica/New_York")
    (row,) = newest_rows(reading_engine(url))

    assert row["at"] == "0001-01-01T00:00:00.000000Z"
