"""Requests that wait are scored in one go. Each gets what it would get alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from serve.answers import Answer
from serve.problems import ProblemError
from serve.scoring import RequestScorer
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
