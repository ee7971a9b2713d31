"""Older request shapes, for clients that were written for earlier services (docs/serving.md lists them).

Each becomes a request of `/v1/predict`, and is validated and scored like one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from serve.context import request_id_of
from serve.json_response import json_response
from serve.problems import ProblemError, documented
from serve.scoring import RequestScorer
from worker.model.contract import Task

if TYPE_CHECKING:
    from serve.app import Service

_LISTS = ("instances", "data", "rows")


def add_older_shapes(router: APIRouter, service: "Service") -> None:
    """Add `/predict` and `/batch_predict`."""
    statuses = documented(400, 413, 415, 422, 503)

    @router.post("/predict", responses=statuses, deprecated=True, openapi_extra=_BODY)
    async def predict(request: Request) -> Response:
        """Score one reading with its history, or one row of features, in one of the older shapes."""
        return await _scored(service, request, single=True)

    @router.post("/batch_predict", responses=statuses, deprecated=True, openapi_extra=_BODY)
    async def batch_predict(request: Request) -> Response:
        """Score several rows, in one of the older shapes."""
        return await _scored(service, request, single=False)


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


async def _scored(service: "Service", request: Request, *, single: bool) -> Response:
    echoed: dict[str, Any] = {}

    def read(scorer: RequestScorer, given: Any) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise ProblemError(422, "invalid_request", "the body must be a JSON object")
        if "features" in given and "user_id" in given:
            echoed["user_id"] = given["user_id"]
        return scorer.read(newer(given, scorer, single=single))

    scorer, predictions = await service.score(request, read)
    found = [_older(each, scorer) for each in predictions]
    answer = found[0] if single and len(found) == 1 else {"predictions": found}
    model = {"model_name": scorer.model.name, "model_version": scorer.model.version}
    return json_response(model | echoed | answer | {"request_id": request_id_of(request.scope)})


def newer(given: Mapping[str, Any], scorer: RequestScorer, *, single: bool) -> dict[str, Any]:
    """The request of `/v1/predict` that an older one means.

    Args:
        given: `{"readings": […]}`, `{"instances": […]}`, `{"data": […]}`, `{"user_id": …, "features": {…}}`, or a row.
        scorer: knows the model's inputs, in whose order a row may also be a list.
        single: whether one prediction is wanted: of readings, that of the last one.
    """
    if "readings" in given:
        return {"readings": given["readings"], "predict": "last" if single else "each"}
    if isinstance(features := given.get("features"), dict | list):
        rows = [features]
    elif name := next((name for name in _LISTS if isinstance(given.get(name), list | dict)), None):
        rows = given[name] if isinstance(given[name], list) else [given[name]]
        if rows and not any(isinstance(row, dict | list) for row in rows):
            rows = [rows]  # one row as a list of numbers
    else:
        rows = [dict(given)]
    names = [each.name for each in scorer.model.inputs]
    rows = [_named(row, names) for row in rows]
    if rows and all(isinstance(row, dict) and scorer.is_reading(row) for row in rows):
        return {"readings": rows}
    return {"rows": rows}


def _named(row: Any, names: list[str]) -> Any:
    if not isinstance(row, list):
        return row
    if len(row) != len(names):
        raise ProblemError(422, "invalid_request", f"a row has {len(row)} values; the model takes {len(names)}")
    return dict(zip(names, row, strict=True))


def _older(prediction: Mapping[str, Any], scorer: RequestScorer) -> dict[str, Any]:
    """A prediction with `prediction` in front: the class or the value."""
    task = scorer.model.task
    if task is Task.BINARY:
        value: Any = int(prediction["positive"])
    else:
        value = prediction["predicted_class" if task is Task.MULTICLASS else "value"]
    return {"prediction": value, **prediction}
