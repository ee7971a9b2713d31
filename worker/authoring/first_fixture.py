"""The first fixture of a new pipeline: rows that its model can score, and what the worker makes of them today."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import yaml

from schemas.field_rules import FieldRules
from schemas.resolution import named_types
from worker.admission.compatibility import sample_rows
from worker.authoring.fixtures import as_message
from worker.config.pipeline import Pipeline
from worker.config.task import Task
from worker.in_memory import InMemory
from worker.model.contract import Model

_ROWS = 3
_TIME = "2026-01-01T00:00:00Z"  # of all rows: nothing in a new pipeline depends on the time between them
_COMPARED = {
    Task.BINARY: ("probability", "positive"),
    Task.MULTICLASS: ("predicted_class", "probability"),
    Task.REGRESSION: ("value",),
}
_LEAST = {"null": None, "boolean": False, "bytes": b"", "string": ""} | dict.fromkeys(
    ("int", "long", "float", "double"), 0
)
_HEAD = """\
# What `hazardstream pipeline test` checks: rows, and what the worker has to make of them (docs/testing.md).
# The first test holds what the model gives today. Replace its rows by some that you know the answer of.
"""


def first_fixture(pipeline: Pipeline, model: Model) -> str:
    """A file of fixtures, YAML, with what comes of a few rows.

    Raises:
        UserError: a row does not fit the input's schema.
        ModelFailedError: the model fails.
    """
    rows = list(_rows(pipeline, model))
    results = InMemory(pipeline, model).process([as_message(pipeline, row) for row in rows])
    names = [pipeline.outputs.schema_name(name) for name in _COMPARED[model.task]]
    test: dict[str, Any] = {
        "name": "rows that the model was tried with",
        "rows": rows,
        "predictions": [{name: prediction[name] for name in names} for prediction in results.predictions],
    }
    if results.dead_letters:
        test["dead_letters"] = [{"row": each.row, "reason": str(each.reason)} for each in results.dead_letters]
    return _HEAD + yaml.safe_dump({"tests": [test]}, sort_keys=False, allow_unicode=True)


def _rows(pipeline: Pipeline, model: Model) -> Iterator[dict[str, Any]]:
    source = pipeline.input
    plain = {name: _value(rules) for name, rules in source.record.rules.items() if rules.kind != "other"}
    named = named_types(source.avro_schema)
    for field in source.avro_schema["fields"]:  # of types that are not read, but must be sent
        if field["name"] not in plain and "default" not in field:
            plain[field["name"]] = _least(field["type"], named)
    if source.time_field is not None:
        plain[source.time_field] = _TIME
    for given in _inputs(pipeline, model):
        yield deepcopy(plain) | {name: _fitting(value, source.rules(name)) for name, value in given.items()}


def _inputs(pipeline: Pipeline, model: Model) -> Iterator[dict[str, Any]]:
    """Fields that are inputs of the model, with values that it was tried with; none where it computes its own."""
    if model.spec is not None:
        yield {}
        return
    of_input = {each.name: each.field or each.name for each in pipeline.features or ()}
    rows = sample_rows(model)
    columns = rows.by_name(model.numeric)
    for row in range(min(_ROWS, len(rows))):
        yield {of_input.get(name, name): column[row] for name, column in columns.items()}


def _value(rules: FieldRules) -> Any:
    """Any value that a field may have."""
    if rules.nullable:
        return None
    if rules.kind == "text":
        return rules.symbols[0] if rules.symbols else "x" * max(rules.shortest, 1)
    low, high = max(rules.low, -1e6), min(rules.high, 1e6)
    middle = min(max(0.0, low), high)
    return {"flag": False, "whole": round(middle), "number": middle}.get(rules.kind)


def _least(avro: Any, named: Mapping[str, Any]) -> Any:
    """The smallest value of an Avro type."""
    if isinstance(avro, list):
        return None if "null" in avro else _least(avro[0], named)
    if isinstance(avro, str):
        return _least(named[avro], named) if avro in named else _LEAST.get(avro)
    kind = avro["type"]
    if kind == "record":
        return {each["name"]: _least(each["type"], named) for each in avro["fields"] if "default" not in each}
    if kind == "enum":
        return avro["symbols"][0]
    if kind == "fixed":
        return bytes(avro["size"])
    return {"array": [], "map": {}}[kind] if kind in {"array", "map"} else _least(kind, named)


def _fitting(value: Any, rules: FieldRules) -> Any:
    """A value of a column as one of a field, within its range."""
    if isinstance(value, str) or value is None:
        return value
    within = min(max(float(value), rules.low), rules.high)
    return {"flag": bool(within), "whole": round(within)}.get(rules.kind, within)
