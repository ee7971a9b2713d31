"""Requests that are refused, and everything around the predictions: ids, keys, limits, CORS, log, documentation."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from common.errors import UserError
from serve.settings import ServeSettings
from tests.harness import make_stage, wait_until
from tests.serve.conftest import Start
from tests.serve.test_predict import post
from tests.sink_scene import Scene, rows_of
from worker.config.settings import load_settings
from worker.model.package import ModelPackage

KEY = "k" * 32
JSON = {"content-type": "application/json"}


def refused(
    api: TestClient, status: int, error: str, method: str = "POST", path: str = "/v1/predict", **more: Any
) -> Any:
    """A request that gets this error, in the form of all errors."""
    answer = api.request(method, path, **more)
    assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text
    problem = answer.json()
    assert problem.keys() == {"error", "message", "request_id", "timestamp", "details"}
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", problem["timestamp"])
    return problem


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"readings": "\\ud800"}', b"[" * 100_000, b"nul"])
def test_what_is_not_json(api: TestClient, body: bytes) -> None:
    refused(api, 400, "malformed_json", content=body, headers=JSON)
    refused(api, 400, "malformed_json", path="/predict", content=body, headers=JSON)


@pytest.mark.parametrize(
    ("change", "error", "at"),
    [
        ({"voltage_v": "51"}, "invalid_request", "readings.0.voltage_v"),
        ({"voltage_v": True}, "invalid_request", "readings.0.voltage_v"),
        ({"module_id": None}, "invalid_request", "readings.0.module_id"),
        ({"voltag_v": 51.0}, "invalid_request", "readings.0.voltag_v"),
        ({"ts": 1.5}, "invalid_request", "readings.0.ts"),
        ({"ts": 2**63}, "invalid_request", "readings.0.ts"),
        ({"ts": "yesterday"}, "invalid_request", "readings.0"),
        ({"ts": 1_780_000_000}, "rejected", "readings.0"),  # seconds
        ({"ts": 4_000_000_000_000}, "rejected", "readings.0"),  # the future
        ({"module_id": ""}, "rejected", "readings.0"),
    ],
)
def test_a_reading_that_is_wrong_is_named(
    api: TestClient, history: list[dict[str, Any]], change: dict[str, Any], error: str, at: str
) -> None:
    problem = refused(api, 422, error, json={"readings": [history[0] | change]})

    assert problem["details"][0]["at"].startswith(at)
    assert problem["details"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [{}, [], {"readings": []}, {"rows": []}, {"readings": [{}], "rows": [{}]}, {"rows": [{"voltage": 1}]},
     {"rows": [{}], "predict": "some"}, {"rows": [{"voltage_v": 1e300}]}, {"readings": {}}],
)  # fmt: skip
def test_a_request_of_another_form(api: TestClient, body: Any) -> None:
    refused(api, 422, "invalid_request", json=body)


def test_a_refusal_says_what_was_meant(api: TestClient, history: list[dict[str, Any]]) -> None:
    both = refused(api, 422, "invalid_request", json={"readings": [], "rows": []})
    assert both["message"] == "give either `readings` or `rows`"
    misspelt = refused(api, 422, "invalid_request", json={"readings": [history[0] | {"voltag_v": 1.0}]})
    assert misspelt["message"].endswith("voltag_v: there is no such field; did you mean 'voltage_v'?")
    local = refused(api, 422, "invalid_request", json={"readings": [history[0] | {"ts": "2026-01-31T12:00:00"}]})
    assert "add Z or an offset such as +02:00" in local["message"]
    assert refused(api, 404, "not_found", "GET", "/v2")["message"] == "no such path; /docs lists all"


@pytest.mark.parametrize(
    "body",
    [[], {"data": [[1.0]]}, {"features": []}, {"instances": [None]}, {"data": "x"}, {"user_id": 1}, {"readings": 5}],
)
def test_older_shapes_of_another_form(api: TestClient, body: Any) -> None:
    refused(api, 422, "invalid_request", path="/predict", json=body)


def test_too_many_rows_and_too_large_bodies(start: Start, package: ModelPackage) -> None:
    api = start(package, serve_max_rows=2, serve_max_bytes=1000)

    refused(api, 422, "invalid_request", json={"rows": [{}] * 3})
    refused(api, 413, "too_large", content=b" " * 1001, headers=JSON)
    refused(api, 415, "not_json", content=b"rows=1", headers={"content-type": "application/x-www-form-urlencoded"})
    refused(api, 415, "not_json", content=b"{}")


def test_paths_methods_and_hosts(api: TestClient) -> None:
    refused(api, 404, "not_found", "GET", "/v2/predict")
    refused(api, 405, "method_not_allowed", "GET", "/v1/predict")
    refused(api, 421, "wrong_host", "GET", "/live", headers={"host": "evil.example"})


def test_without_a_model_it_is_live_and_not_ready(start: Start) -> None:
    api = start(None)

    assert api.get("/live").json() == {"live": True}
    ready = api.get("/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    for path in ("/v1/model", "/v1/schema"):
        refused(api, 503, "not_ready", "GET", path)
    refused(api, 503, "not_ready", json={"rows": [{}]})
    assert api.get("/openapi.json").status_code == 200


def test_api_keys(start: Start, package: ModelPackage, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n{'n' * 32}\n")
    api = start(package, serve_api_key_file=file)

    refused(api, 401, "unauthorised", json={"rows": [{}]})
    refused(api, 401, "unauthorised", json={"rows": [{}]}, headers={"x-api-key": "wrong"})
    refused(api, 401, "unauthorised", "GET", "/v1/model", headers={"authorization": f"Basic {KEY}"})
    post(api, {"rows": [{}]}, **{"X-API-Key": KEY})
    post(api, {"rows": [{}]}, Authorization=f"Bearer {'n' * 32}")
    assert api.get("/ready").status_code == api.get("/metrics").status_code == 200  # probes need none
    assert api.get("/live", headers={"host": "any.example"}).status_code == 200  # a page cannot know the key


def test_weak_or_missing_keys_are_mistakes_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for given in (
        {"serve_api_key": "short"},
        {"serve_api_key_file": tmp_path / "empty"},
        {"serve_api_key_file": tmp_path},
    ):
        with pytest.raises(UserError):
            load_settings(ServeSettings, **given).api_keys()
    with pytest.raises(UserError, match=r"600/minute"):
        load_settings(ServeSettings, serve_rate_limit="often")


def test_the_rate_limit(start: Start, package: ModelPackage) -> None:
    api = start(package, serve_rate_limit="2/minute", serve_api_key=f"{KEY},{'n' * 32}")
    for _ in range(2):
        post(api, {"rows": [{}]}, **{"X-API-Key": KEY})

    refused(api, 429, "rate_limited", json={"rows": [{}]}, headers={"x-api-key": KEY})

    wait = api.post("/v1/predict", json={"rows": [{}]}, headers={"x-api-key": KEY}).headers["retry-after"]
    assert 1 <= int(wait) <= 60
    post(api, {"rows": [{}]}, **{"X-API-Key": "n" * 32})  # another client
    assert api.get("/live").status_code == 200


def test_request_ids_and_traces(api: TestClient) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    answer = api.get("/live", headers={"x-request-id": "mine-1", "traceparent": trace})

    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["traceparent"].split("-")[1] == trace.split("-")[1]
    assert answer.headers["traceparent"] != trace
    for given in ("a b", "x" * 200, "ü"):
        assert api.get("/live", headers=[(b"x-request-id", given.encode())]).headers["x-request-id"] != given
    assert "traceparent" not in api.get("/live", headers={"traceparent": "00-0-0-0"}).headers


def test_pages_of_the_listed_origins_may_call(start: Start, package: ModelPackage) -> None:
    api = start(package, serve_cors_origins="https://a.example, https://b.example", serve_api_key=KEY)
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-api-key"}

    for origin, status in (("https://b.example", 200), ("https://c.example", 400)):
        answer = api.options("/v1/predict", headers={"origin": origin, **asked})
        assert answer.status_code == status
        assert (answer.headers.get("access-control-allow-origin") == origin) == (status == 200)


def test_the_documentation_needs_no_other_server(api: TestClient) -> None:
    page = api.get("/docs")

    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"docs/swagger-ui-bundle.js", "docs/swagger-ui.css"} <= set(sources)
    assert not [source for source in sources if source.startswith(("http", "//"))]
    for source in sources:
        if source.startswith("docs/"):
            assert api.get(f"/{source}").status_code == 200
    assert "https:" not in page.headers["content-security-policy"]
    assert api.get("/docs/secret.js").status_code == 404


def test_the_examples_of_the_description_are_answered(api: TestClient) -> None:
    described = api.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]

    examples = described["requestBody"]["content"]["application/json"]["examples"]
    assert examples.keys() == {"readings", "rows"}
    for example in examples.values():
        post(api, example["value"])
    assert {"400", "401", "413", "415", "422", "429", "503"} <= described["responses"].keys()


def test_model_and_schema(api: TestClient, package: ModelPackage) -> None:
    model = api.get("/v1/model").json()
    assert (model["name"], model["version"], model["task"]) == (package.name, package.version, "binary")
    assert [each["name"] for each in model["inputs"]] == package.spec.names
    schema = api.get("/v1/schema").json()
    assert schema["avro"]["name"] == "SensorReading"
    assert schema["request"]["$defs"].keys() == {"Reading", "Row"}


def test_metrics_count_requests_by_route(api: TestClient) -> None:
    post(api, {"rows": [{}, {}]})
    api.get("/no/such/path")

    text = api.get("/metrics").text

    assert 'hazardstream_serve_requests_total{path="/v1/predict",status="200"} 1.0' in text
    assert 'hazardstream_serve_requests_total{path="other",status="404"} 1.0' in text
    assert "hazardstream_serve_rows_scored_total 2.0" in text


def test_the_request_log_in_a_file(start: Start, package: ModelPackage, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    api = start(package, request_log_file=file)
    post(api, {"rows": [{}, {}]}, **{"X-Request-Id": "r1"})
    refused(api, 422, "invalid_request", json={}, headers={"x-request-id": "r2"})
    api.get("/ready")

    lines = wait_until(lambda: len(file.read_text().splitlines()) == 2 and file.read_text().splitlines(), "two lines")

    good, bad = map(json.loads, lines)
    assert good.keys() >= {"received_at", "duration_ms"}
    assert (good["request_id"], good["path"], good["pipeline"], good["rows"], good["status"]) == (
        "r1", "/v1/predict", "battery_hazard", 2, 200,
    )  # fmt: skip
    assert (good["model_name"], good["model_version"]) == (package.name, package.version)
    assert (bad["request_id"], bad["status"], bad["error"]) == ("r2", 422, "invalid_request")


@pytest.mark.kafka
def test_the_request_log_on_a_topic_is_what_a_sink_stores(
    start: Start, package: ModelPackage, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    scene, database = Scene(make_stage(kafka, topic_prefix, tmp_path, Path())), f"sqlite:///{tmp_path}/sink.sqlite"
    api = start(package, request_log=scene.topics["requests"], bootstrap_servers=kafka)
    post(api, {"rows": [{}, {}]}, **{"X-Request-Id": "good"})
    refused(api, 422, "invalid_request", json={}, headers={"x-request-id": "bad"})
    wait_until(lambda: len(scene.in_topics()) == 2, "both are on the topic")

    scene.store_all(database)

    both: dict[str, Any] = {
        "path": "/v1/predict",
        "pipeline": "battery_hazard",
        "model_name": package.name,
        "model_version": package.version,
        "further": None,
    }
    expected = [
        both | {"request_id": "bad", "status": 422, "rows": 0, "error": "invalid_request"},
        both | {"request_id": "good", "status": 200, "rows": 2, "error": None},
    ]
    rows = sorted(rows_of(database, "requests"), key=lambda row: str(row["request_id"]))
    assert [{name: row[name] for name in expected[0]} for row in rows] == expected
    assert all(row["duration_ms"] > 0 for row in rows)
    assert rows_of(database, "unreadable") == []
