"""The pipeline file: what is scored, from which topic, by which model, to which topics."""

import importlib
import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from worker.errors import UserError

BUNDLED = Path(__file__).resolve().parent.parent / "pipelines"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Strict):
    """The input topic and the record on it."""

    topic: str
    record: str
    key: str
    group: str
    time: str
    max_future_ms: NonNegativeInt = 300_000
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
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"pipeline: input.record {self.record!r} cannot be imported ({error}); write package.module:Class"
            ) from error
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise UserError(f"pipeline: input.record {self.record!r} is not a Pydantic model")
        return model

    def sensors(self) -> tuple[str, ...]:
        """Names of the record's measured columns: every field that may be missing."""
        fields = self.record_model().model_fields
        return tuple(name for name, field in fields.items() if not field.is_required())


class Output(_Strict):
    """An output topic and the schema of its records."""

    topic: str
    schema_name: str = Field(alias="schema")


class DeadLetters(_Strict):
    """The dead-letter topic: records go there byte for byte, so it has no schema."""

    topic: str


class Outputs(_Strict):
    """The output topics, and the field names that differ from the worker's own words."""

    predictions: Output
    alarms: Output
    alarm_state: Output
    dead_letters: DeadLetters
    fields: dict[str, str] = {}


class Topology(_Strict):
    """How what a key stands for is built. Parameters of a key win over its group's, and those over the default."""

    default: dict[str, PositiveFloat] = {}
    groups: dict[str, dict[str, PositiveFloat]] = {}
    keys: dict[str, dict[str, PositiveFloat]] = {}

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

    days: PositiveInt = 30
    labels: PositiveInt = 10
    precision: float = Field(0.5, ge=0, le=1)
    recall: float = Field(0.9, ge=0, le=1)
    horizon_ms: PositiveInt = 6 * 3_600_000


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

    name: str
    input: Input
    outputs: Outputs
    model: str
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
    """Read a pipeline file, by path or, for the ones that come with the package, by name.

    Raises:
        UserError: there is no such file, or it does not hold a pipeline; the text names line or field.
    """
    path = Path(path_or_name)
    if not path.suffix:
        path = BUNDLED / f"{path_or_name}.yaml"
    if not path.is_file():
        bundled = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.yaml")))
        raise UserError(f"no pipeline file {path}; give a path, or one of: {bundled}")
    try:
        return Pipeline.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise UserError(f"{path} is not a pipeline file: {faults}") from error
