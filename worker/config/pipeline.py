"""The pipeline file: what is scored, from which topic, by which model, to which topics."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from common.errors import UserError
from common.text import shown
from worker.config.pipeline_check import sense_faults, shape_faults
from worker.config.pipeline_file import read_yaml
from worker.windows.keyed_state import MOST_FUTURE_MS

BUNDLED = Path(__file__).resolve().parents[2] / "pipelines"

# Not `true`, and not a number in quotes: YAML makes either of a slip. Small enough for 64 bits, whatever is added.
_Number = Annotated[int, Field(strict=True, le=2**42)]
_Size = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
_Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=249)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Strict):
    """The input topic and the record on it."""

    topic: _Topic
    record: str
    key: str
    group: str
    time: str
    max_future_ms: Annotated[_Number, Field(ge=0, le=MOST_FUTURE_MS)] = 300_000
    on_invalid_sensor: Literal["mask", "dead_letter"] = "mask"
    # Of local times and of texts that do not say it. Zones with daylight saving are not fixed, so they are not allowed.
    utc_offset: str | None = Field(None, pattern=r"^(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$")

    @property
    def utc_offset_ms(self) -> int | None:
        """`utc_offset` in ms, positive in the east; None: times that do not say it are not read."""
        if self.utc_offset in (None, "Z"):
            return None if self.utc_offset is None else 0
        hours, minutes = int(self.utc_offset[1:3]), int(self.utc_offset[4:])
        return (-1 if self.utc_offset[0] == "-" else 1) * (60 * hours + minutes) * 60_000

    def record_model(self) -> type[BaseModel]:
        """The Pydantic model that declares the record's ranges.

        Raises:
            UserError: `record` does not name one.
        """
        module, _, name = self.record.partition(":")
        try:
            model = getattr(importlib.import_module(module), name)
        except Exception as error:  # a module may raise anything while it is imported
            reason = f"{type(error).__name__}: {shown(error, 200)}"
            raise UserError(
                f"{shown(self.record)!r} cannot be imported ({reason}); write package.module:Class"
            ) from error
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise UserError(f"{shown(self.record)!r} is not a Pydantic model; name a subclass of pydantic.BaseModel")
        return model

    def sensors(self) -> tuple[str, ...]:
        """Names of the record's measured columns: every field that may be missing."""
        fields = self.record_model().model_fields
        return tuple(name for name, field in fields.items() if not field.is_required())


class Output(_Strict):
    """An output topic and the schema of its records."""

    topic: _Topic
    schema_name: str = Field(alias="schema")


class DeadLetters(_Strict):
    """The dead-letter topic: records go there byte for byte, so it has no schema."""

    topic: _Topic


class Outputs(_Strict):
    """The output topics, and the field names that differ from the worker's own words."""

    predictions: Output
    alarms: Output
    alarm_state: Output
    dead_letters: DeadLetters
    fields: dict[str, str] = {}
    # Headers of a reading that its prediction and its alarm get, too: by default those of a W3C trace.
    headers: tuple[str, ...] = ("traceparent", "tracestate")

    def field(self, word: str) -> str:
        """Name of the field that carries a value of the worker's."""
        return self.fields.get(word, word)

    def by_word(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of predictions, alarms or alarm state as read, by the worker's own words."""
        words = {field: word for word, field in self.fields.items()}
        return {words.get(field, field): value for field, value in record.items()}

    def by_field(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the worker's own words, under the names of the fields that carry them."""
        return {self.field(word): value for word, value in words.items()}


class Topology(_Strict):
    """How the equipment behind a key is built. A key's parameters win over its group's, and those over the default.

    Attributes:
        per: input field -> the parameter that its value is proportional to. Recordings are rescaled by it.
    """

    per: dict[str, str] = {}
    default: dict[str, _Size] = {}
    groups: dict[str, dict[str, _Size]] = {}
    keys: dict[str, dict[str, _Size]] = {}

    def of(self, key: str, group: str) -> dict[str, float]:
        """Parameters of one key."""
        return {**self.default, **self.groups.get(group, {}), **self.keys.get(key, {})}


class SiteRule(_Strict):
    """What a site is: the first group of a pattern that a reading's key or group begins with."""

    of: Literal["key", "group"] = "group"
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _names_a_site(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if groups < 1:
            raise ValueError(f"{pattern!r} must hold one group (...): what it matches is the site's name")
        return pattern


class Performance(_Strict):
    """When the model has got worse, by what operators confirmed.

    Attributes:
        days: back over which is counted.
        labels: fewer events (or, for precision, alarms) tell nothing.
        precision: part of the alarms that were no false ones, below which it has.
        recall: part of the events that were alarmed before the point of no return, below which it has.
        horizon_ms: so long before an event an alarm is a warning of it.
    """

    days: Annotated[_Number, Field(ge=1, le=36_500)] = 30
    labels: Annotated[_Number, Field(ge=1)] = 10
    precision: float = Field(0.5, ge=0, le=1)
    recall: float = Field(0.9, ge=0, le=1)
    horizon_ms: Annotated[_Number, Field(ge=1)] = 6 * 3_600_000


class Monitor(_Strict):
    """The topics by which data and model are watched, and what a site is; the whole fleet is one without a rule."""

    sketches: Output
    events: Output
    labels: Output
    shadow: Output
    site: SiteRule | None = None
    performance: Performance = Performance()


class Pipeline(_Strict):
    """A whole pipeline file."""

    name: _Name
    input: Input
    outputs: Outputs
    model: Annotated[str, Field(min_length=1)]
    topology: Topology = Topology()
    alarm: dict[str, Any] = {}
    monitor: Monitor | None = None

    @property
    def topics(self) -> dict[str, str]:
        """Topic of each role: input, the outputs by their names, and those of `monitor`, if there is one."""
        outputs, monitor = self.outputs, self.monitor
        watched = monitor and {
            "sketches": monitor.sketches.topic,
            "events": monitor.events.topic,
            "labels": monitor.labels.topic,
            "shadow": monitor.shadow.topic,
        }
        return {
            "input": self.input.topic,
            "predictions": outputs.predictions.topic,
            "alarms": outputs.alarms.topic,
            "alarm_state": outputs.alarm_state.topic,
            "dead_letters": outputs.dead_letters.topic,
            **(watched or {}),
        }

    @property
    def schemas(self) -> dict[str, str]:
        """Name of the record on the topic of each role that has one."""
        outputs, monitor = self.outputs, self.monitor
        written: dict[str, Output] = {
            "predictions": outputs.predictions,
            "alarms": outputs.alarms,
            "alarm_state": outputs.alarm_state,
        }
        if monitor is not None:
            written |= {"sketches": monitor.sketches, "events": monitor.events}
            written |= {"labels": monitor.labels, "shadow": monitor.shadow}
        return {"input": self.input.record_model().__name__} | {r: o.schema_name for r, o in written.items()}


def load_pipeline(path_or_name: str) -> Pipeline:
    """Read a pipeline file, by path or, for the ones that come with the package, by name, and check all of it.

    Raises:
        UserError: there is no such file, or a worker could not run it; the text names file, line and fix of each fault.
    """
    path = Path(path_or_name)
    if not path.suffix:
        path = BUNDLED / f"{path_or_name}.yaml"
    if not path.is_file():
        bundled = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.yaml")))
        kind = "is a directory" if path.is_dir() else "there is no such file"
        raise UserError(f"pipeline {shown(path)}: {kind}; give the path of a pipeline file, or one of: {bundled}")
    file = read_yaml(path)
    try:
        pipeline = Pipeline.model_validate(file.values)
    except ValidationError as error:
        found = shape_faults(error, Pipeline)
    else:
        found = sense_faults(pipeline)
        if not found:
            return pipeline
    raise UserError("\n".join(file.fault(at, text) for at, text in sorted(found, key=lambda f: file.line(f[0]))))
