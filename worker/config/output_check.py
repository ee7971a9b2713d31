"""Checks of what a pipeline file says of its outputs, besides their schemas: fields, echo, alarms, task."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.environment import closest
from common.text import shown
from schemas.avro_rules import NAME
from worker.config.output_fields import IDENTITY
from worker.config.pipeline_file import Place
from worker.config.roles import ROLES
from worker.config.task import Task

if TYPE_CHECKING:
    from worker.config.pipeline import Pipeline

Found = tuple[Place, str]
_ALIKE = 0.6


def output_faults(pipeline: "Pipeline") -> Iterator[Found]:
    """What is wrong with names and parts of the outputs."""
    yield from _fields(pipeline)
    yield from _echo(pipeline)
    yield from _alarms(pipeline)
    yield from _window_state(pipeline)
    yield from _task(pipeline)


def _fields(pipeline: "Pipeline") -> Iterator[Found]:
    source, fields = pipeline.input, pipeline.outputs.fields
    known = {field for role in ROLES.values() if role.mapped for field in role.fields}
    written = known - set(IDENTITY) | set(source.identity.values())
    for field, in_schema in fields.items():
        at = ("outputs", "fields", field)
        if field not in written:
            hint = closest(field, sorted(written), _ALIKE)
            advice = f"did you mean {hint!r}?" if hint else f"there are {', '.join(sorted(written))}"
            yield at, f"the worker writes no value of this name; {advice}"
        elif not NAME.fullmatch(in_schema):
            yield at, f"{shown(repr(in_schema), 60)} is no legal name of an Avro field; write letters, digits and _"
        elif [*fields.values()].count(in_schema) > 1 or (in_schema in written and in_schema not in fields):
            yield at, f"field {shown(in_schema)!r} carries another value already; give each value its own field"


def _echo(pipeline: "Pipeline") -> Iterator[Found]:
    source, outputs = pipeline.input, pipeline.outputs
    copied = (*source.sensors(), *source.categories())
    written = {outputs.schema_name(field) for field in ROLES["predictions"].fields}
    for at, name in enumerate(outputs.echo):
        place = ("outputs", "echo", at)
        if name in source.identity_fields.values():
            yield place, f"{shown(name)!r} is on every prediction already; take it out"
        elif name not in source.record.rules:
            hint = closest(name, copied, _ALIKE)
            yield place, f"the input has no field {shown(name)!r}; {_meant(hint, copied)}"
        elif name not in copied:
            yield place, f"{source.record.place(name)} is no number, boolean, string or enum; take it out"
        elif name in outputs.echo[:at]:
            yield place, f"{shown(name)!r} is copied already; take one of them out"
        elif name in written:
            yield place, f"{shown(name)!r} is the name of a value of predictions; rename that with outputs.fields"


def _meant(hint: str | None, names: tuple[str, ...]) -> str:
    return f"did you mean {hint!r}?" if hint else f"there are {', '.join(names)}"


def _alarms(pipeline: "Pipeline") -> Iterator[Found]:
    outputs = pipeline.outputs
    if (outputs.alarms is None) != (outputs.alarm_state is None):
        given, lacking = ("alarms", "alarm_state") if outputs.alarms else ("alarm_state", "alarms")
        yield (
            ("outputs", given),
            (
                f"alarms need outputs.{lacking}, too: one topic has transitions, the other the state of each key; "
                f"add {lacking}: {{topic: NAME}}, or take {given} out"
            ),
        )
    if outputs.alarms is None and pipeline.alarm:
        yield ("alarm",), "there are no alarms; add outputs.alarms and outputs.alarm_state, or take `alarm` out"
    if outputs.alarms is not None and pipeline.expected_task is not Task.BINARY and "rules" not in pipeline.alarm:
        yield (
            ("outputs", "alarms"),
            (
                f"alarms follow from a probability, which a {pipeline.expected_task} model does not give; add rules to "
                "`alarm`, take alarms and alarm_state out, or write task: binary"
            ),
        )


def _window_state(pipeline: "Pipeline") -> Iterator[Found]:
    part, at = pipeline.outputs.window_state, ("outputs", "window_state")
    kept = [feature.name for feature in pipeline.features or () if feature.as_aggregate()]
    if kept and part is None:
        text = f"window_state is missing, where the windows of {shown(', '.join(kept))} are kept"
        yield ("outputs",), f"{text}; add window_state: {{topic: NAME}}"
    elif part is not None and not kept and pipeline.given_features != ():
        yield at, "no feature has a window of time (`over`), so nothing is kept there; take it out"
    elif part is not None and part.given is not None:
        yield (*at, "schema"), "the schema follows from the features; take it out"


def monitor_faults(pipeline: "Pipeline") -> Iterator[Found]:
    """What the monitor needs of the input."""
    lacking = [role for role in ("key", "time") if role not in pipeline.input.identity_fields]
    if pipeline.monitor is not None and lacking:
        yield (
            ("monitor",),
            (
                "labels and performance are about a key at an event time; name the fields of "
                f"{' and '.join(f'input.{role}' for role in lacking)}, or take monitor out"
            ),
        )


def _task(pipeline: "Pipeline") -> Iterator[Found]:
    if pipeline.task is None and pipeline.outputs.predictions.given is None:
        yield (
            ("outputs", "predictions"),
            (
                f"the schema follows from the task; add task: {', '.join(Task)} (one of them) at the top of the file, "
                "or give predictions a schema"
            ),
        )


def topic_faults(pipeline: "Pipeline") -> Iterator[Found]:
    """What is wrong with the names of topics."""
    used = Counter(pipeline.topics.values())
    for role, topic in pipeline.topics.items():
        if topic in {".", ".."}:
            yield (*ROLES[role].place, "topic"), f"{topic!r} is not a legal name of a topic; choose another"
        if used[topic] > 1:
            others = ", ".join(r for r, t in pipeline.topics.items() if t == topic and r != role)
            yield (*ROLES[role].place, "topic"), f"{topic!r} is the topic of {others}, too; give each its own"
        elif alike := [t for t in used if t != topic and t.replace(".", "_") == topic.replace(".", "_")]:
            text = (
                f"Kafka takes {topic!r} and {alike[0]!r} for one, as its metrics write _ for a dot; rename one of them"
            )
            yield (*ROLES[role].place, "topic"), text
