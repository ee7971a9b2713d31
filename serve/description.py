"""The OpenAPI description: the routes as FastAPI describes them, with the request's schema and examples."""

from typing import Any

from fastapi import FastAPI

from serve.forms import example_reading, example_row
from serve.live_model import LiveModel
from serve.scoring import RequestScorer
from worker.config.pipeline import Pipeline

_ANSWER = {
    "type": "object",
    "required": ["model", "predictions", "request_id"],
    "properties": {
        "model": {"type": "object", "properties": {"name": {"type": "string"}, "version": {"type": "string"}}},
        "predictions": {"type": "array", "items": {"type": "object", "required": ["row"]}},
        "request_id": {"type": "string"},
    },
}


def describe(app: FastAPI, pipeline: Pipeline, live: LiveModel) -> None:
    """Add to an application's description what depends on the pipeline and the current model."""
    base = app.openapi

    def openapi() -> dict[str, Any]:
        found, scorer = base(), live.scorer
        schema: dict[str, Any] = (
            {"type": "object"}
            if scorer is None
            else scorer.form.json_schema(ref_template="#/components/schemas/{model}")
        )
        parts = dict(schema.pop("$defs", {}))
        described = found | {"components": found["components"] | {"schemas": found["components"]["schemas"] | parts}}
        body = {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": _examples(pipeline, scorer)}},
        }
        answer = {"description": "The predictions.", "content": {"application/json": {"schema": _ANSWER}}}
        paths = dict(described["paths"])
        post = paths["/v1/predict"]["post"]
        post = post | {"requestBody": body, "responses": post["responses"] | {"200": answer}}
        return described | {"paths": paths | {"/v1/predict": {"post": post}}}

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation does to extend a description


def _examples(pipeline: Pipeline, scorer: RequestScorer | None) -> dict[str, Any]:
    readings = {"readings": [example_reading(pipeline)]}
    found = {"readings": {"summary": "Readings, oldest first", "value": readings}}
    if scorer is not None:
        row = {"rows": [example_row(scorer.model)]}
        found["rows"] = {"summary": "Finished features", "value": row}
    return found
