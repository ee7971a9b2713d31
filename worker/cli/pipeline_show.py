"""A pipeline with all defaults and derived schemas, as JSON and as tables."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.errors import DependencyDownError, UserError
from common.text import shown
from worker.admission.compatibility import alarm_policy
from worker.admission.source import resolve_by_settings
from worker.config.pipeline import Pipeline
from worker.config.roles import ROLES
from worker.config.settings import Settings


def resolved(pipeline: Pipeline, settings: Settings, *, offline: bool) -> dict[str, Any]:
    """Everything, ready for JSON.

    Args:
        pipeline: checked.
        settings: say where the model is.
        offline: do not look for the model.
    """
    uri = settings.model_uri(pipeline.model)
    return {
        "name": pipeline.name,
        "folder": str(pipeline.folder),
        "group": settings.group_of(pipeline.name),
        "task": str(pipeline.expected_task),
        "input": _input(pipeline),
        "features": _features(pipeline),
        "model": {"uri": uri, **({} if offline else _model(pipeline, settings, uri))},
        "alarm": pipeline.alarm,
        "topology": pipeline.topology.model_dump(),
        "topics": {role: _topic(pipeline, role, topic) for role, topic in pipeline.topics.items()},
    }


def _input(pipeline: Pipeline) -> dict[str, Any]:
    source = pipeline.input
    read = {*source.sensors(), *source.categories(), *source.identity_fields.values()}
    return {
        "topic": source.topic,
        "record": source.record.name,
        "key": source.key_field or "the message key",
        "group": source.group_field,
        "time": source.time_field or "the Kafka timestamp",
        "numbers": list(source.sensors()),
        "categories": list(source.categories()),
        "not_read": [name for name in source.record.rules if name not in read],
        "max_future_ms": source.max_future_ms,
        "on_invalid_sensor": source.on_invalid_sensor,
        "utc_offset": source.utc_offset,
    }


def _features(pipeline: Pipeline) -> list[dict[str, Any]] | str:
    if pipeline.features is None:
        return "the model's own inputs"
    given = (feature.model_dump(exclude_defaults=True) for feature in pipeline.features)
    return [dict(each) for each in given]


def _model(pipeline: Pipeline, settings: Settings, uri: str) -> dict[str, Any]:
    try:
        model = resolve_by_settings(settings, uri, pipeline)
        policy = alarm_policy(model, pipeline)
    except (UserError, DependencyDownError) as error:
        return {"fault": str(error)}
    return {
        "name": model.name,
        "version": model.version,
        "task": str(model.task),
        "inputs": [{"name": each.name, "type": each.type, "required": each.required} for each in model.inputs],
        "alarm_policy": policy and policy.model_dump(),
    }


def _topic(pipeline: Pipeline, role: str, topic: str) -> dict[str, Any]:
    record, needs = pipeline.records.get(role), ROLES[role]
    derived = record is not None and role != "input" and record.file.suffix != ".avsc"
    return {
        "topic": topic,
        "operations": list(needs.operations),
        "settings": dict(needs.settings),
        "schema": record and record.schema,
        "derived": derived,
    }


def as_tables(found: dict[str, Any]) -> RenderableType:
    """Tables for a terminal; the schemas are in the JSON."""
    facts = Table(show_header=False, title=Text(shown(f"{found['name']}, in {found['folder']}")))
    for name, text in _facts(found):
        facts.add_row(name, Text("\n".join(shown(line, 2000) for line in text.split("\n"))))
    topics = Table(title="Topics")
    for column in ("role", "topic", "record", "ACLs of a worker"):
        topics.add_column(column)
    for role, topic in found["topics"].items():
        record = topic["schema"]["name"] if topic["schema"] else ""
        derived = " (derived)" if topic["derived"] else ""
        topics.add_row(role, shown(topic["topic"]), f"{record}{derived}", ", ".join(topic["operations"]))
    return Group(facts, topics)


def _said(feature: dict[str, Any]) -> str:
    """A feature in words, such as `mean of temp, last 10`."""
    text = feature["kind"] + (f" of {feature['field']}" if "field" in feature else "")
    if where := feature.get("where"):
        text += " where " + " and ".join(f"{field} = {json.dumps(value)}" for field, value in where.items())
    settings = (f"{name} {feature[name]}" for name in ("last", "over", "per") if name in feature)
    return ", ".join((text, *settings, *(["filled"] if feature.get("fill") else [])))


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    source, model = found["input"], found["model"]
    yield "task", found["task"]
    yield "consumer group", found["group"]
    yield "input", f"{source['record']} on {source['topic']}"
    for name in ("key", "group", "time"):
        yield f"  {name}", source[name] or "none"
    for name in ("numbers", "categories", "not_read"):
        if source[name]:
            yield f"  {name.replace('_', ' ')}", ", ".join(source[name])
    features = found["features"]
    if isinstance(features, str):
        yield "features", features
    else:
        yield "features", "\n".join(f"{each['name']}: {_said(each)}" for each in features)
    yield "model", model["uri"]
    for name in ("name", "version", "task", "fault"):
        if name in model:
            yield f"  {name}", model[name]
    if model.get("inputs"):
        yield "  inputs", ", ".join(each["name"] for each in model["inputs"])
    if policy := model.get("alarm_policy") or found["alarm"]:
        yield "alarm", json.dumps(policy)
