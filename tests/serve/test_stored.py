"""What a sink has stored, over HTTP: only for those who have a key."""

from pathlib import Path

import pytest

from common.errors import UserError
from sink.engine import database_url
from sink.sql_store import SqlStore
from tests.serve.conftest import Start
from tests.sink.records import TOPIC, part, record_of, table, written
from worker.model.package import ModelPackage

KEY = "k" * 32
RECORD = record_of(("model_name", "string"), ("model_version", "string"), ("value", "double"))


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Three predictions, stored as a sink stores them."""
    url = f"sqlite:///{tmp_path}/stored.db"
    store, made = SqlStore(database_url(url)), table(RECORD)
    store.prepare({"predictions": TOPIC})
    values = [{"model_name": "m", "model_version": "1", "value": i / 2} for i in range(3)]
    store.write([part(made, [written(RECORD, value) for value in values])])
    store.close()
    return url


def test_what_is_stored_is_answered_to_those_with_a_key(start: Start, package: ModelPackage, database: str) -> None:
    api = start(package, serve_database=database, serve_api_key=KEY)
    assert api.get("/logs").status_code == 401
    rows = api.get("/logs", params={"limit": 2}, headers={"X-API-Key": KEY}).json()
    assert [row["value"] for row in rows] == [1.0, 0.5]
    assert api.get("/database/stats", headers={"X-API-Key": KEY}).json()["tables"]["predictions"]["rows"] == 3
    missing = api.get("/logs", params={"table": "nothing"}, headers={"X-API-Key": KEY})
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")


def test_without_a_key_or_a_database_it_does_not_start(start: Start, package: ModelPackage, database: str) -> None:
    with pytest.raises(UserError, match="set an API key"):
        start(package, serve_database=database)
    with pytest.raises(UserError, match="there is no database"):
        start(package, serve_database=f"{database}.not", serve_api_key=KEY)
    assert start(package).get("/logs").status_code == 404
