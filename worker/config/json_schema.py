"""The JSON Schema of pipeline files, by which editors complete and check them."""

import inspect
import re
from typing import Any

from pydantic import BaseModel

from worker.alarms.rules import Condition, Rule
from worker.alarms.state_machine import AlarmPolicy
from worker.config.features import Feature
from worker.config.inputs_outputs import DeadLetters, Input, Output
from worker.config.outputs import Outputs
from worker.config.pipeline import Monitor, Performance, Pipeline, SiteRule
from worker.config.topology import Topology

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARTS = (Input, Output, DeadLetters, Outputs, Monitor, SiteRule, Performance, Topology, Feature, AlarmPolicy)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def pipeline_json_schema() -> dict[str, Any]:
    """The schema: names, types, choices and ranges. `hazardstream pipeline check` finds more than it can say."""
    schema = Pipeline.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    # What is left out is that of the model's package.
    definitions["AlarmPolicy"] = {k: v for k, v in AlarmPolicy.model_json_schema().items() if k != "required"}
    schema["properties"]["alarm"] = {"$ref": "#/$defs/AlarmPolicy"}
    definitions |= _rules()
    definitions["AlarmPolicy"]["properties"] |= {
        "model": {"type": "boolean", "description": "Whether the model raises alarms by itself."},
        "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}, "description": "Alarms beside the model."},
    }
    feature = {"$ref": "#/$defs/Feature"}
    name = {"type": "string", "description": "Short for the value or the category of the field of this name."}
    schema["properties"]["features"] = {"type": "array", "items": {"anyOf": [name, feature]}}
    for model in (Pipeline, *_PARTS):
        _describe(model, schema if model is Pipeline else definitions[model.__name__])
    schema["title"] = "hazardstream pipeline file"
    return {"$schema": _DIALECT, **schema}


def _rules() -> dict[str, Any]:
    """The definitions of rules and their conditions."""
    rule = Rule.model_json_schema()
    found = {**rule.pop("$defs"), "Rule": rule}
    for model in (Condition, Rule):
        _describe(model, found[model.__name__])
    # A rule with one condition can be written as one mapping.
    rule["properties"] |= found["Condition"]["properties"]
    return found


def _describe(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Put the texts about attributes in a docstring where editors show them: beside the properties."""
    text = inspect.getdoc(model) or ""
    summary, _, attributes = text.partition("\nAttributes:\n")
    schema["description"] = " ".join(summary.split())
    names = {name: info.alias or name for name, info in model.model_fields.items()}
    for name, described in _ATTRIBUTE.findall(attributes):
        schema["properties"][names[name]]["description"] = " ".join(described.split())
