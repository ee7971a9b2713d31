"""Requests that wait are scored in one go. Each gets what it would get alone."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from serve.answers import Answer
from serve.metrics import ServeMetrics
from serve.problems import ProblemError
from serve.scoring import RequestScorer
from serve.scoring_thread import ScoringThread
from tests.flagship import PIPELINE
from worker.model.contract import Features, ModelFailedError, Prediction
from worker.model.package import ModelPackage


@pytest.fixture
def scorer(package: ModelPackage) -> RequestScorer:
    return RequestScorer(PIPELINE, package, 1000)


def result(found: Answer | ProblemError) -> Any:
    return found.predictions if isinstance(found, Answer) else (found.status, found.message, found.details)


def test_each_request_gets_what_it_gets_alone(scorer: RequestScorer, history: list[dict[str, Any]]) -> None:
    requests: list[dict[str, Any]] = [
        {"readings": history},
        {"readings": history[:5]},  # the same keys and times again: no duplicates of another request's
        {"rows": [{"max_surface_temp_c": 90.0}]},
        {"readings": [history[0], history[1] | {"ts": 4_000_000_000_000}]},  # one is refused
        {"readings": [history[0] | {"ts": 0}]},
        {"readings": history, "predict": "last", "explain": True},
    ]
    now_ms = time.time_ns() // 1_000_000

    together = scorer.score_all(requests, now_ms)

    alone = [scorer.score_all([request], now_ms)[0] for request in requests]
    assert list(map(result, together)) == list(map(result, alone))
    assert [isinstance(found, Answer) for found in together] == [True, True, True, False, False, True]
    refused = together[3]
    assert isinstance(refused, ProblemError)
    assert refused.details[0].at == "readings.1"


def test_a_request_that_the_model_fails_on_costs_no_other(
    scorer: RequestScorer, package: ModelPackage, history: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = ModelPackage.predict

    def fails_on_voltages_above_60(model: ModelPackage, features: Features) -> Prediction:
        if (features.numbers[:, package.spec.names.index("voltage_v")] > 60 / 14).any():
            raise ModelFailedError(model, "cannot score that")
        return predict(model, features)

    monkeypatch.setattr(ModelPackage, "predict", fails_on_voltages_above_60)
    good, bad = {"readings": history}, {"readings": [history[0] | {"voltage_v": 70.0}]}

    found = scorer.score_all([good, bad, good], time.time_ns() // 1_000_000)

    assert [isinstance(each, Answer) for each in found] == [True, False, True]
    assert isinstance(found[1], ProblemError)
    assert (found[1].status, found[1].error) == (503, "model_failed")


def test_a_model_that_exits_ends_neither_the_thread_nor_the_server(
    api: TestClient, history: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exits(model: ModelPackage, features: Features) -> Prediction:
        raise SystemExit(3)

    with monkeypatch.context() as patched:
        patched.setattr(ModelPackage, "predict", exits)
        assert api.post("/v1/predict", json={"readings": history}).status_code == 500
    assert api.post("/v1/predict", json={"readings": history}).status_code == 200
    assert api.get("/ready").json()["ready"]


def test_many_clients_at_once(api: TestClient, history: list[dict[str, Any]]) -> None:
    bodies = [{"readings": history[: 1 + n % 7]} for n in range(60)]
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda body: api.post("/v1/predict", json=body).json(), bodies))

    for body, answer in zip(bodies, answers, strict=True):
        alone = api.post("/v1/predict", json=body).json()
        np.testing.assert_array_equal(
            [each["probability"] for each in answer["predictions"]],
            [each["probability"] for each in alone["predictions"]],
        )


def test_a_request_whose_turn_comes_too_late_is_told_so(
    scorer: RequestScorer, history: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.scoring_thread._LONGEST_S", 0.2)
    thread, goes_on = ScoringThread(ServeMetrics()), threading.Event()

    def waits(_: RequestScorer) -> dict[str, Any]:
        goes_on.wait(60)
        return {"readings": history}

    async def two_requests() -> list[Any]:
        reads = (waits, lambda _: {"readings": history})
        return await asyncio.gather(*(thread.score(scorer, read, 1) for read in reads), return_exceptions=True)

    for found in asyncio.run(two_requests()):
        assert isinstance(found, ProblemError)
        assert (found.status, found.error) == (503, "busy")
    monkeypatch.setattr("serve.scoring_thread._LONGEST_S", 30.0)
    goes_on.set()
    answer = asyncio.run(thread.score(scorer, lambda _: {"readings": history}, 1))
    assert len(answer.predictions) == len(history)
