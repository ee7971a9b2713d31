"""What strangers may try: none of it costs much, tells them anything, or fills the log."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from serve.live_model import LiveModel
from serve.metrics import ServeMetrics
from serve.scoring import RequestScorer
from serve.settings import ServeSettings
from tests.flagship import PIPELINE
from tests.harness import wait_until
from tests.serve.conftest import Start
from tests.serve.test_requests import JSON, refused
from worker.config.settings import load_settings
from worker.http.server import HttpServer
from worker.model.package import ModelPackage

MANY = 400_000


@pytest.mark.parametrize("path", ["/v1/predict", "/predict"])
@pytest.mark.parametrize("around", ['{"rows": [%s]}', '{"readings": [%s]}', "%s"])
def test_very_many_unknown_fields_are_refused_at_once(api: TestClient, path: str, around: str) -> None:
    body = around % ("{" + ",".join(f'"{n}":1' for n in range(MANY)) + "}")
    started = time.thread_time()

    problem = refused(api, 422, "invalid_request", path=path, content=body.encode(), headers=JSON)

    assert len(problem["details"]) <= 1
    assert len(json.dumps(problem)) < 1000
    assert time.thread_time() - started < 1  # of this thread; the scoring thread parses it in a tenth of a second


def test_only_the_first_row_that_does_not_fit_is_described(api: TestClient, history: list[dict[str, Any]]) -> None:
    bad = history[0] | {"voltage_v": "x", "rack": 1}

    problem = refused(api, 422, "invalid_request", json={"readings": [history[0], *[bad] * 5000]})

    assert [detail["at"] for detail in problem["details"]] == ["readings.1.voltage_v", "readings.1.rack"]
    assert problem["details"][0]["message"] == "it must be a number, not 'x'"


@pytest.mark.parametrize("path", ["/v1/predict", "/predict", "/batch_predict"])
@pytest.mark.parametrize("body", ['{"rows": [{"voltage_v": 1, "voltage_v": 2}]}', r'{"rows": [{}], "ro\u0077s": []}'])
def test_a_key_that_is_there_twice_is_refused(api: TestClient, path: str, body: str) -> None:
    problem = refused(api, 400, "malformed_json", path=path, content=body.encode(), headers=JSON)

    assert "Detected duplicate key" in problem["message"]


def test_a_path_with_a_slash_too_many_is_not_found(api: TestClient) -> None:
    refused(api, 404, "not_found", path="/v1/predict/", json={"rows": [{}]}, headers={"host": "localhost:1"})
    refused(api, 404, "not_found", "GET", "/live/")


def test_a_client_that_leaves_within_its_body_leaves_no_traceback(api: TestClient) -> None:
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/predict", "raw_path": b"/v1/predict", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    parts: list[Message] = [
        {"type": "http.request", "body": b'{"rows": [', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return parts.pop(0)

    async def send(_message: Message) -> None:
        pass

    with structlog.testing.capture_logs() as logged:
        asyncio.run(api.app(scope, receive, send))  # type: ignore[arg-type]  # as a server calls it

    assert logged == []
    assert 'requests_total{path="/v1/predict",status="499"} 1.0' in api.get("/metrics").text


def test_a_defect_is_answered_in_the_form_of_all_errors_and_logged_once(
    start: Start, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(RequestScorer, "score_all", fails)
    api = start(package)
    with structlog.testing.capture_logs() as logged:
        problem = refused(api, 500, "internal_error", json={"rows": [{}]})

    assert "secret" not in json.dumps(problem)
    assert [each["event"] for each in logged] == ["a request failed"]


def test_why_there_is_no_model_is_told_without_paths_and_logged_with_them(tmp_path: Path) -> None:
    missing = tmp_path / "secret"
    live = LiveModel(load_settings(ServeSettings, model=str(missing)), PIPELINE, ServeMetrics())
    with structlog.testing.capture_logs() as logged:
        live.start()
        wait_until(lambda: logged, "the reason is logged")
        live.stop()

    assert live.reason == "the model cannot be loaded; the log has details"
    assert str(missing) in logged[0]["reason"]


def test_a_client_cannot_choose_the_address_that_its_rate_is_counted_for() -> None:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["client"][0])(scope, _receive, send)

    server = HttpServer(app, "127.0.0.1", 0)
    port = server.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/", headers={"x-forwarded-for": "10.9.8.7"}, trust_env=False)
    finally:
        server.stop()
    assert answer.text == "127.0.0.1"


def test_a_request_with_two_lengths_is_refused_and_its_connection_closed(api: TestClient) -> None:
    lengths = {"content-length": "2", "transfer-encoding": "chunked"}
    answer = api.post("/v1/predict", content=b"{}", headers=JSON | lengths)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_request")
    assert answer.headers["connection"] == "close"
