"""Checks of a pipeline that every command makes at start, so that no fault waits for the first record."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from common.environment import closest
from common.text import shown
from common.validation_errors import faults
from worker.alarms.rules import Rule, rule_faults
from worker.alarms.state_machine import AlarmPolicy
from worker.config.alarm_section import overrides, raised_by_model, rules_of
from worker.config.features import feature_faults
from worker.config.input_check import input_faults
from worker.config.output_check import monitor_faults, output_faults, topic_faults
from worker.config.pipeline_file import Place
from worker.config.roles import ROLES
from worker.config.schema_check import schema_faults

if TYPE_CHECKING:
    from worker.config.pipeline import Pipeline

Found = tuple[Place, str]
"""Where in the file, and what is wrong, with the fix."""

_ALIKE = 0.6
# Earlier versions took the input's ranges from a Pydantic class that `record` named.
_CODE: Place = ("input", "record")
# Stands for the policy of a model that is not known yet.
_ANY_POLICY = AlarmPolicy(setpoint=0.5, deadband=0.1, on_delay_ms=0, off_delay_ms=0, priorities={"high": 0.5})


def shape_faults(error: ValidationError, model: type[BaseModel]) -> list[Found]:
    """What Pydantic found, with a guess at what each unknown name was meant to be."""
    found = []
    for fault in faults(error):
        text = fault.text
        if fault.at == _CODE:
            text = (
                "a pipeline names no Python code; write schema: NAME instead, put NAME.avsc beside this file, and "
                "declare ranges there (minimum, maximum, minLength, maxLength)"
            )
        elif fault.kind == "extra_forbidden" and (known := _names(model, fault.at[:-1])):
            hint = closest(str(fault.at[-1]), known, _ALIKE)
            text = f"there is no such setting; {f'did you mean {hint!r}?' if hint else 'there are ' + ', '.join(known)}"
        elif fault.kind == "model_type":
            text = "it must be a mapping of names to values; indent them below it"
        elif "; " not in text:
            text += "; correct the value"
        found.append((fault.at, text))
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, such as that of the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _names(model: type[BaseModel], at: Place) -> list[str]:
    """Names that a mapping at a place of the file may have."""
    for part in at:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        models = [] if field is None else list(_models(field.annotation))
        if not models:
            return []
        model = models[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def sense_faults(pipeline: "Pipeline") -> list[Found]:
    """What would fail later, though the shape is right: topics, records, schemas, names, topology, alarm policy."""
    names = [*_input(pipeline), *output_faults(pipeline)]
    # With a wrong name, what the schemas lack would be no more than its consequence.
    following = [] if names else [*_schemas(pipeline), *_features(pipeline), *monitor_faults(pipeline)]
    return [*names, *following, *topic_faults(pipeline), *_topology(pipeline), *_alarm(pipeline)]


def _input(pipeline: "Pipeline") -> Iterator[Found]:
    yield from ((("input", setting), text) for setting, text in input_faults(pipeline.input))


def _schemas(pipeline: "Pipeline") -> Iterator[Found]:
    for role, record in pipeline.records.items():
        if role not in {"input", "window_state"}:  # the latter is always derived
            faults = schema_faults(record, pipeline.written(role), pipeline.input, columnar=ROLES[role].columnar)
            yield from (((*ROLES[role].place, "schema"), text) for text in faults)


def _features(pipeline: "Pipeline") -> Iterator[Found]:
    source, features = pipeline.input, pipeline.features
    if features is None:
        return
    for at, text in feature_faults(features, source.record.rules, set(source.identity_fields.values())):
        yield ("features", *at), text


def _topology(pipeline: "Pipeline") -> Iterator[Found]:
    topology = pipeline.topology
    for field, parameter in topology.per.items():
        at = ("topology", "per", field)
        if field not in (sensors := pipeline.input.sensors()):
            hint = closest(field, sensors, _ALIKE)
            yield at, f"the input has no sensor of this name; {f'did you mean {hint!r}?' if hint else 'correct it'}"
        elif parameter not in topology.default:
            yield at, f"topology.default has no parameter {shown(parameter)!r}; add it there, or correct the name"
        elif isinstance(topology.default[parameter], str):
            text = f"it must be a number, not {shown(repr(topology.default[parameter]))}: {field} is proportional to it"
            yield ("topology", "default", parameter), f"{text}; correct it"
    for level in ("groups", "keys"):
        for name, parameters in getattr(topology, level).items():
            for parameter in parameters.keys() - topology.default.keys():
                hint = closest(parameter, topology.default, _ALIKE)
                advice = f"did you mean {hint!r}?" if hint else "add it there, or take it out here"
                yield ("topology", level, name, parameter), f"topology.default has no such parameter; {advice}"
            for parameter in parameters.keys() & topology.default.keys():
                if isinstance(parameters[parameter], str) != isinstance(topology.default[parameter], str):
                    text = "of a number and a text, here and in topology.default, one is wrong; correct it"
                    yield ("topology", level, name, parameter), text


def _alarm(pipeline: "Pipeline") -> Iterator[Found]:
    given = pipeline.alarm
    yield from _policy(overrides(given))
    if not isinstance(given.get("model", True), bool):
        yield ("alarm", "model"), f"it must be true or false, not {shown(repr(given['model']))}; correct it"
    try:
        rules = rules_of(given)
    except ValidationError as error:
        yield from ((("alarm", "rules", *at), text) for at, text in shape_faults(error, Rule))
        return
    fields = {name: pipeline.input.rules(name) for name in pipeline.input.sensors()}
    ranges = {name: (float(field.low), float(field.high)) for name, field in fields.items()}
    yield from ((("alarm", "rules", *at), text) for at, text in rule_faults(rules, ranges))
    if not raised_by_model(given) and not rules:
        yield ("alarm", "model"), "without rules nothing raises an alarm; add `rules`, or take it out"


def _policy(changes: dict[str, Any]) -> Iterator[Found]:
    numbers = {name: value for name, value in changes.items() if name in AlarmPolicy.model_fields}
    if wrong := {name: value for name, value in numbers.items() if isinstance(value, str | bool)}:
        yield from (
            (("alarm", name), f"it must be a number, not {value!r}; correct it") for name, value in wrong.items()
        )
        return
    try:
        policy = _ANY_POLICY.changed(changes)
    except ValidationError as error:
        for at, text in shape_faults(error, AlarmPolicy):
            # How the values suit each other can be said only with those of the model, but for a setpoint of one's own.
            if at or "setpoint" in changes:
                yield ("alarm", *at), text
        return
    for priority, probability in policy.priorities.items():
        if not (math.isfinite(probability) and 0 < probability <= 1):
            yield ("alarm", "priorities", priority), "it must be a probability, above 0 and at most 1; correct it"
