"""The pipeline file: what is scored, from which topic, by which model, to which topics."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from common.errors import UserError
from common.text import shown
from common.times import DAY_MS, HOUR_MS
from schemas.avro_record import AvroRecord
from schemas.folder import SchemaFolder
from schemas.load import Schema
from schemas.resolution import named_types
from schemas.wire import Fingerprint
from worker.config.derived_schemas import derived_record, window_state_record
from worker.config.features import Feature, milliseconds
from worker.config.inputs_outputs import DeadLetters, Input, Name, Number, Output, Strict
from worker.config.outputs import Outputs
from worker.config.pipeline_check import sense_faults, shape_faults
from worker.config.pipeline_file import FILE_NAME, read_yaml
from worker.config.roles import ROLES, MonitorTopics
from worker.config.task import Task
from worker.config.topology import Topology
from worker.config.trust import Trust, parse_trust
from worker.config.written_fields import WrittenField, written_fields
from worker.windows.aggregates import Aggregate, Layout

SHIPPED_PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
"""Folders of the pipelines that come with hazardstream."""

_LONGEST_WINDOW_MS = 30 * DAY_MS


class SiteRule(Strict):
    """What a site is: the first group of a pattern that a reading's key or group begins with.

    Attributes:
        of: which of the two.
        pattern: regular expression with one group (...).
    """

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


class Performance(Strict):
    """Limits of model performance, measured against labels. A model beyond one of them has degraded.

    Attributes:
        days: length of the period that is measured, up to now.
        labels: smallest number of events (for precision: of alarms) that is evaluated.
        precision: smallest share of alarms that were not false.
        recall: smallest share of events with an alarm before the point of no return.
        horizon_ms: how long before an event an alarm counts as its warning.
    """

    days: Annotated[Number, Field(ge=1, le=36_500)] = 30
    labels: Annotated[Number, Field(ge=1)] = 10
    precision: float = Field(0.5, ge=0, le=1)
    recall: float = Field(0.9, ge=0, le=1)
    horizon_ms: Annotated[Number, Field(ge=1)] = 6 * HOUR_MS


class Monitor(MonitorTopics):
    """The topics by which data and model are watched.

    Attributes:
        sketches: counts of values, by site and hour.
        events: drift that was found.
        labels: what happened in fact.
        shadow: results of champion and challenger.
        site: what a site is; the whole fleet is one without a rule.
        performance: limits of model performance.
    """

    site: SiteRule | None = None
    performance: Performance = Performance()


def _window_span(text: str) -> str:
    if not 0 < milliseconds(text) <= _LONGEST_WINDOW_MS:
        raise ValueError(f"it must be at most {_LONGEST_WINDOW_MS // DAY_MS}d, not {text}")
    return text


class Pipeline(Strict):
    """A pipeline: what is scored, from which topic, by which model, to which topics.

    Attributes:
        name: of the pipeline, and of the consumer group of its workers.
        input: the topic and the record on it.
        outputs: the topics that workers write to.
        model: models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest, models:/m-ID, runs:/ID/PATH,
            s3://BUCKET/PATH, `bundled` (the folder `model` beside this file), a directory or an exported file.
        trusted_models: models that may run code of their authors: `registry`, or sha256: and the digest of a model; one
            of these or a list.
        task: what the model predicts. It may be left out if predictions have a schema.
        given_features: the inputs of the model, in any order; without them, each is the field of the same name, or what
            the model's own package computes.
        window_span: how far back windows of readings reach in event time: a number with s, m, h or d. A longer silence
            empties them, and a restart replays twice as much of the log.
        topology: how the equipment behind a key is built.
        alarm: when alarms are raised; what is given overrides the policy of the model's package, if there is one.
        monitor: how data and model are watched.
    """

    _folder: Path = PrivateAttr()

    name: Name
    input: Input
    outputs: Outputs
    model: Annotated[str, Field(min_length=1)]
    trusted_models: Annotated[str | tuple[str, ...], Field(alias="trust")] = ()
    task: Task | None = None
    given_features: Annotated[tuple[Feature, ...] | None, Field(alias="features")] = None
    window_span: Annotated[str, AfterValidator(_window_span)] = "1d"
    topology: Topology = Topology()
    alarm: dict[str, Any] = Field(default_factory=dict)
    monitor: Monitor | None = None

    def model_post_init(self, context: SchemaFolder, /) -> None:
        """Remember the folder that the pipeline is read from, and derive the schemas that the file does not give."""
        self._folder = context.path
        named = named_types(self.input.avro_schema)
        for role, part in self._parts():
            if isinstance(part, Output) and part is not self.outputs.window_state and part.given is None:
                part.derive(derived_record(self.name, role, self.written(role), named, context))
        if self.outputs.window_state is not None and self.layout is not None:
            self.outputs.window_state.derive(window_state_record(self.name, self.layout, context))

    def written(self, role: str) -> dict[str, WrittenField]:
        """What is written to an output, by the names of its schema."""
        found = written_fields(self.input, self.outputs, role, self.expected_task)
        rule = self.outputs.schema_name("rule")
        if rule in found and not self.alarm.get("rules"):
            found[rule] = found[rule]._replace(derived=False, field=found[rule].field._replace(optional=True))
        return found

    @property
    def expected_task(self) -> Task:
        """What the model must predict: the file says it, or the schema of predictions shows it."""
        if self.task is not None or self.outputs.predictions.given is None:
            return self.task or Task.BINARY
        carried = set(self.outputs.with_engine_names(self.outputs.predictions.given.rules))
        if "predicted_class" in carried:
            return Task.MULTICLASS
        return Task.REGRESSION if "value" in carried else Task.BINARY

    @property
    def features(self) -> tuple[Feature, ...] | None:
        """The features with all their defaults; None: the file says none."""
        if self.given_features is None:
            return None
        return tuple(feature.resolved(self.input.record.rules) for feature in self.given_features)

    @property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """The features that are kept in buckets of event time."""
        return tuple(aggregate for feature in self.features or () if (aggregate := feature.as_aggregate()))

    @field_validator("trusted_models")
    @classmethod
    def _names_models(cls, trusted: str | tuple[str, ...]) -> str | tuple[str, ...]:
        try:
            parse_trust(trusted if isinstance(trusted, str) else ",".join(trusted), "trust")
        except UserError as error:
            raise ValueError(str(error)) from error
        return trusted

    @property
    def trust(self) -> Trust:
        """Which models the pipeline trusts."""
        trusted = self.trusted_models
        return parse_trust(trusted if isinstance(trusted, str) else ",".join(trusted))

    @property
    def layout(self) -> Layout | None:
        """How the aggregates are kept; None: there are none."""
        return Layout(self.aggregates) if self.aggregates else None

    @property
    def window_ms(self) -> int:
        """`window_span` in ms."""
        return milliseconds(self.window_span)

    @property
    def folder(self) -> Path:
        """The pipeline's folder."""
        return self._folder

    @property
    def shipped_model(self) -> Path:
        """The model package in the pipeline's folder, which need not be there."""
        return self._folder / "model"

    @property
    def topics(self) -> dict[str, str]:
        """Topic of each role that the pipeline has."""
        return {role: part.topic for role, part in self._parts()}

    @property
    def records(self) -> dict[str, AvroRecord]:
        """Declaration of the records on the topic of each role; dead letters have none."""
        parts = ((role, part) for role, part in self._parts() if role != "window_state" or self.layout is not None)
        return {role: part.record for role, part in parts if not isinstance(part, DeadLetters)}

    def _parts(self) -> Iterator[tuple[str, Input | Output | DeadLetters]]:
        """The parts of the file that name a topic, by role."""
        for name, role in ROLES.items():
            part: Any = self
            for step in role.place:
                part = getattr(part, step, None)
            if part is not None:
                yield name, part

    @property
    def known_schemas(self) -> dict[Fingerprint, Schema]:
        """The schemas of all roles and their superseded versions, by fingerprint."""
        return {key: schema for record in self.records.values() for key, schema in record.versions.items()}


def load_pipeline(path_or_name: str) -> Pipeline:
    """Read a pipeline and check all of it.

    Args:
        path_or_name: a pipeline's folder, its `pipeline.yaml` or another YAML file in it, or the name of a pipeline
            that comes with hazardstream.

    Raises:
        UserError: there is no such file, or a worker could not run it; the text names file, line and fix of each fault.
    """
    path = _file(path_or_name)
    file = read_yaml(path)
    try:
        pipeline = Pipeline.model_validate(file.values, context=SchemaFolder(path.parent))
    except ValidationError as error:
        found = shape_faults(error, Pipeline)
    else:
        found = sense_faults(pipeline)
        if not found:
            return pipeline
    raise UserError("\n".join(file.fault(at, text) for at, text in sorted(found, key=lambda f: file.line(f[0]))))


def _file(path_or_name: str) -> Path:
    path = Path(path_or_name)
    candidates = [path / FILE_NAME, SHIPPED_PIPELINES / path_or_name / FILE_NAME] if path_or_name else []
    if path.is_file():
        return path
    if found := [file for file in candidates if file.is_file()]:
        return found[0]
    if not path_or_name:
        raise UserError("no pipeline is given; set HAZARDSTREAM_PIPELINE, or give --pipeline")
    shipped = ", ".join(sorted(file.parent.name for file in SHIPPED_PIPELINES.glob(f"*/{FILE_NAME}")))
    kind = f"the folder has no {FILE_NAME}" if path.is_dir() else "there is no such file or folder"
    raise UserError(
        f"pipeline {shown(path_or_name)}: {kind}; give a folder with a {FILE_NAME}, the path of such a "
        f"file, or one of: {shipped}"
    )
