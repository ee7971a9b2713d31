"""The first fixture of a new pipeline: rows that its model can score, and what the worker makes of them today."""

from collections.abc import Iterator
from typing import Any

import yaml

from schemas.field_rules import FieldRules
from worker.admission.compatibility import sample_rows
from worker.authoring.fixtures import as_message
from worker.config.pipeline import Pipeline
from worker.config.task import Task
from worker.in_memory import InMemory
from worker.model.contract import Model

_ROWS = 3
_COMPARED = {
    Task.BINARY: ("probability", "positive"),
    Task.MULTICLASS: ("predicted_class", "probability"),
    Task.REGRESSION: ("value",),
}
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
    plain = {name: _value(rules) for name, rules in source.record.rules.items()}
    if source.time_field is not None:
        plain[source.time_field] = "2026-01-01T00:00:00Z" if source.rules(source.time_field).logical else 0
    for given in _inputs(pipeline, model):
        yield plain | {name: _fitting(value, source.rules(name)) for name, value in given.items()}


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


def _fitting(value: Any, rules: FieldRules) -> Any:
    """A value of a column as one of a field, within its range."""
    if isinstance(value, str) or value is None:
        return value
    within = min(max(float(value), rules.low), rules.high)
    return {"flag": bool(within), "whole": round(within)}.get(rules.kind, within)
