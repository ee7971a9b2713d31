"""The pipeline file: what is scored, from which topic, by which model, to which topics."""

import importlib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError

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


class Pipeline(_Strict):
    """A whole pipeline file."""

    name: str
    input: Input
    outputs: Outputs
    model: str
    topology: Topology = Topology()
    alarm: dict[str, Any] = {}

    @property
    def topics(self) -> dict[str, str]:
        """Topic of each role: input, predictions, alarms, alarm_state, dead_letters."""
        outputs = self.outputs
        return {
            "input": self.input.topic,
            "predictions": outputs.predictions.topic,
            "alarms": outputs.alarms.topic,
            "alarm_state": outputs.alarm_state.topic,
            "dead_letters": outputs.dead_letters.topic,
        }


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
