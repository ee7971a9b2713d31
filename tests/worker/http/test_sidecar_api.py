"""The sidecar against its own OpenAPI: every request gets a documented answer, in any state of the worker."""

import threading
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from starlette.testclient import TestClient

from local.process import http_client
from tests.harness import START_MS, Stage, reading, wait_until
from worker.http.sidecar import build_app
from worker.observe.loop_questions import LoopQuestions
from worker.observe.metrics import Metrics
from worker.observe.worker_status import Status

PATHS = {"/live", "/ready", "/health", "/metrics", "/model", "/schema", "/keys/{key}"}


def exercise(schema: BaseSchema, examples: int = 30) -> None:
    """Send generated requests to all operations, and check each answer against the description."""
    exercised = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        exercised.add(operation.path)

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(operation.as_strategy())
        def answers_as_described(case: schemathesis.Case[Any]) -> None:
            # 503 and 504 are answers here; a 500 is not, for it is in no description.
            case.call_and_validate(excluded_checks=[schemathesis.checks.not_a_server_error])

        answers_as_described()
    assert exercised == PATHS


def status() -> Status:
    return Status(Metrics(), "p", "i", "exactly_once")


@pytest.mark.slow  # hundreds of generated requests
def test_a_worker_that_is_starting_answers_as_described() -> None:
    exercise(schemathesis.openapi.from_asgi("/openapi.json", build_app(status(), LoopQuestions())))


@pytest.mark.kafka
def test_a_worker_at_work_answers_as_described(stage: Stage) -> None:
    odd = ["a", "ü/m", "50%", "..", "a b"]
    stage.publish_readings(reading(m, START_MS + i * 10_000) for i in range(3) for m in odd)
    with stage.worker() as worker:
        worker.await_ready()
        worker.await_consumed(3 * len(odd))
        exercise(schemathesis.openapi.from_url(f"{worker.address}/openapi.json"), examples=10)
        for key in ("a", "%C3%BC/m", "%C3%BC%2Fm", "50%25", "%2E%2E", "a%20b"):
            answer = http_client().get(f"{worker.address}/keys/{key}")
            assert answer.status_code == 200, key
            assert len(answer.json()["window"]["ts"]) == 3
        assert worker.process.poll() is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", sorted(PATHS))
def test_nothing_can_be_changed_over_it(method: str, path: str) -> None:
    answer = TestClient(build_app(status(), LoopQuestions())).request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_failures_are_part_of_the_description() -> None:
    paths = build_app(status(), LoopQuestions()).openapi()["paths"]
    assert {p: set(o["get"]["responses"]) for p, o in paths.items()} == {
        "/live": {"200", "503"},
        "/ready": {"200", "503"},
        "/health": {"200"},
        "/metrics": {"200"},
        "/model": {"200", "503"},
        "/schema": {"200"},
        "/keys/{key}": {"200", "404", "422", "503", "504"},
    }


def test_figures_that_are_no_numbers_are_shown_as_null() -> None:
    state = status()
    state.model = {"name": "m", "version": "1", "metrics": {"auc": float("nan"), "gain": float("inf")}}
    answer = TestClient(build_app(state, LoopQuestions())).get("/model")
    assert answer.status_code == 200
    assert answer.json()["metrics"] == {"auc": None, "gain": None}


@pytest.mark.slow  # starts 150 threads
def test_questions_to_a_loop_that_does_not_come_round_do_not_pile_up() -> None:
    state, questions = status(), LoopQuestions()
    state.phase = "running"
    client = TestClient(build_app(state, questions))
    answers: list[int] = []
    askers = [threading.Thread(target=lambda: answers.append(client.get("/keys/m").status_code)) for _ in range(150)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert set(answers) == {503, 504}
    assert questions.waiting <= 100 + 40  # those that looked at the queue at the same time
    questions.answer(None, {})
    wait_until(lambda: questions.waiting == 0, "the queue is emptied")
    state.phase = "stopping"
    assert client.get("/keys/m").status_code == 503
