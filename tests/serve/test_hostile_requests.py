"""Malicious requests: generated from the API's own description, and written by hand. None gets a 500."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from benchmarks.hostile_requests import hostile_requests
from tests.serve.conftest import Start
from worker.model.package import ModelPackage

EXAMPLES = int(os.environ.get("HAZARDSTREAM_TEST_GENERATED", "10"))
"""For each path, with a model and without."""
ANSWERED = {200, 400, 401, 404, 405, 413, 415, 421, 422, 429, 431, 503}


PATHS = {"/live", "/ready", "/metrics", "/v1/predict", "/v1/model", "/v1/schema", "/predict", "/batch_predict"}
CHECKS: list[Any] = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.slow  # sends hundreds of requests
@pytest.mark.parametrize("with_model", [True, False])
def test_every_generated_request_is_answered_as_described(
    start: Start, package: ModelPackage, with_model: bool
) -> None:
    api = start(package if with_model else None, http_allowed_hosts="testserver")
    exercised = set()
    for found in schemathesis.openapi.from_asgi("/openapi.json", api.app).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        exercised.add(operation.path)

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(operation.as_strategy())
        def is_answered(case: schemathesis.Case[Any]) -> None:
            answer = case.call_and_validate(checks=CHECKS)
            assert answer.status_code in ANSWERED

        is_answered()
    assert exercised == PATHS


def test_no_request_made_by_hand_gets_a_500(api: TestClient) -> None:
    for request in hostile_requests(seed=1, count=400):
        answer = api.request(request.method, request.path, content=request.body, headers=request.raw_headers)

        assert answer.status_code in ANSWERED, (request, answer.text)
    assert api.get("/ready").status_code == 200
