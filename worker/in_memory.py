"""Runs a pipeline in this process, without Kafka: rows become messages, and pass the worker's own stages.

For tests of a pipeline, and for scoring a few rows. See docs/testing.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from common.dead_letter_reasons import DeadLetterReason
from common.errors import UserError
from common.text import shown
from schemas.codec import decode, encode
from schemas.field_rules import FieldRules
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import Headers, single_object_prefix
from worker.admission.compatibility import alarm_policy
from worker.admission.source import resolve_by_settings
from worker.config.alarm_section import rules_in_force
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import load_settings
from worker.encode.encoder import Encoder
from worker.model.contract import Model
from worker.score.batch import Batch
from worker.score.event_time import LATEST_MS, implausible
from worker.score.outcome import Outcome
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

START_MS = 1_767_225_600_000
"""Kafka timestamp of the first message where rows have no time: 2026-01-01T00:00Z. Later ones follow by the second."""
_DEAD_LETTER_MAX_BYTES = 1 << 20
_CREATE_TIME = 1


class Message(NamedTuple):
    """A message as a producer would send it. A row alone is short for a message with the row's own key and time.

    Attributes:
        value: a row of the input's schema, or the bytes of any value; None: a null value.
        key: of the message.
        timestamp_ms: Kafka timestamp; None: the row's time, if it is plausible, else a second after the message before.
        headers: of the message.
    """

    value: Mapping[str, Any] | bytes | None
    key: str | bytes | None = None
    timestamp_ms: int | None = None
    headers: Headers = ()


class DeadLetter(NamedTuple):
    """A message that was not scored. `row` counts all messages that were given, from 0."""

    row: int
    reason: DeadLetterReason
    message: str


@dataclass
class Results:
    """What came of messages, each list in the order of the input.

    Attributes:
        predictions: records of the predictions topic.
        alarms: records of the alarms topic: the transitions.
        dead_letters: messages that were not scored.
        duplicates: how many readings were dropped because their keys had sent them before.
        outcomes: of each batch, with the arrays that the stages computed.
    """

    predictions: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    duplicates: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


class InMemory:
    """A pipeline with its model. Windows and alarms stay from call to call, as in a worker with one partition."""

    def __init__(self, pipeline: Pipeline, model: Model, batch_size: int = 1000) -> None:
        """Results do not depend on the batch size, which is the largest number of messages that are scored at once.

        Raises:
            PackageError: the pipeline cannot use the model.
        """
        self.pipeline, self.model, self._batch_size = pipeline, model, batch_size
        self._lookup = writer_schema_lookup(None, pipeline.known_schemas)
        self._scorer = scorer_of(
            pipeline, model, alarm_policy(model, pipeline), self._lookup, rules=rules_in_force(pipeline)
        )
        self._scorer.alarms.assign(0, {})
        self._encoder = Encoder(pipeline, {}, _DEAD_LETTER_MAX_BYTES)
        self._partition = Partition(0, 0, 0)
        source = pipeline.input.avro_schema
        self._schema, self._prefix = parsed(source), single_object_prefix(source)

    def process(self, rows: Iterable[Mapping[str, Any] | Message]) -> Results:
        """Send messages and collect what is published for them.

        Raises:
            UserError: a row does not fit the input's schema. To try what a worker does with such bytes, give bytes.
            ModelFailedError: the model fails.
        """
        results, given = Results(), list(rows)
        for start in range(0, len(given), self._batch_size):
            batch = self._batch(given[start : start + self._batch_size])
            outcome = self._scorer.process(batch, {0: self._partition})
            self._collect(outcome, results)
            self._scorer.merge(outcome, {0: self._partition})
        return results

    def _batch(self, rows: Sequence[Mapping[str, Any] | Message]) -> Batch:
        first = self._partition.next_offset
        messages = [self._message(row, first + at) for at, row in enumerate(rows)]
        count, time_ms = len(messages), np.array([m.timestamp_ms for m in messages], np.int64)
        return Batch(
            [key.encode() if isinstance(key := m.key, str) else key for m in messages],
            [m.value for m in messages],
            np.zeros(count, np.int64),
            np.arange(first, first + count),
            time_ms,
            np.full(count, _CREATE_TIME),
            {at: m.headers for at, m in enumerate(messages) if m.headers},
        )

    def _message(self, row: Mapping[str, Any] | Message, number: int) -> "_Sent":
        message = row if isinstance(row, Message) else self._with_own_key(row)
        value, time_ms = message.value, message.timestamp_ms
        if isinstance(value, Mapping):
            record = self._record(value)
            own = record.get(self.pipeline.input.time_field or "")
            time_ms = own if time_ms is None and _plausible(own) else time_ms
            try:
                value = encode(record, self._schema, self._prefix)
            except ValueError as error:
                raise UserError(f"row {number} does not fit {self.pipeline.input.record.name}: {error}") from error
        return _Sent(value, message.key, START_MS + 1000 * number if time_ms is None else time_ms, message.headers)

    def _with_own_key(self, row: Mapping[str, Any]) -> Message:
        key = row.get(self.pipeline.input.key_field or "")
        return Message(row, None if key is None else str(key))

    def _record(self, row: Mapping[str, Any]) -> dict[str, Any]:
        fields = {each["name"]: each for each in self.pipeline.input.avro_schema["fields"]}
        if unknown := [name for name in row if name not in fields]:
            raise UserError(
                f"{self.pipeline.input.record.name} has no field {', '.join(map(shown, unknown))}; there are "
                f"{', '.join(fields)}"
            )
        left_out = {name: None for name, each in fields.items() if "default" not in each and name not in row}
        rules = self.pipeline.input.record.rules
        return left_out | {name: _sent(name, value, rules[name]) for name, value in row.items()}

    def _collect(self, outcome: Outcome, results: Results) -> None:
        outgoing, topics, records = self._encoder.records(outcome), self.pipeline.topics, self.pipeline.records
        for sent in outgoing.bulk.get((topics["predictions"], 0), []):
            results.predictions.append(decode(sent["value"], self._lookup, records["predictions"].schema))
        for record in outgoing.records:
            if record.topic == topics.get("alarms") and record.value is not None:
                results.alarms.append(decode(record.value, self._lookup, records["alarms"].schema))
        for rejection in sorted(outcome.rejections, key=lambda rejection: rejection.row):
            row = int(outcome.batch.offset[rejection.row])
            results.dead_letters.append(DeadLetter(row, rejection.reason, rejection.message))
        results.duplicates += outcome.deduplicated
        results.outcomes.append(outcome)


class _Sent(NamedTuple):
    value: bytes | None
    key: str | bytes | None
    timestamp_ms: int
    headers: Headers


def _plausible(time: Any) -> bool:
    """Whether a row's time can be the time at which it was sent. Any other would hide that it is implausible."""
    if not (isinstance(time, int) and 0 <= time < LATEST_MS):
        return False
    return not implausible(np.array([time]), np.array([START_MS]))[0]


def _sent(name: str, value: Any, rules: FieldRules) -> Any:
    """A value of a field as it is encoded. The encoder would cut off fractions of whole numbers."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UserError(f"{name}: {value} has no time zone; give it one, such as datetime.UTC")
        return round(value.timestamp() * 1000)
    if rules.kind == "whole" and (isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())):
        raise UserError(f"{name}: {value} is not a whole number, which the field is; round it")
    return int(value) if rules.kind == "whole" and isinstance(value, float) else value


def in_memory(pipeline: str, model: str | None = None) -> InMemory:
    """A pipeline in memory, with its model checked as a worker would check it.

    Args:
        pipeline: its folder, its file, or the name of one that comes with hazardstream.
        model: URI of a model; None: the one that the settings or the pipeline name.

    Raises:
        UserError: pipeline or model cannot be used; the text says why.
        DependencyDownError: the model is in MLflow, which does not answer.
    """
    loaded, settings = load_pipeline(pipeline), load_settings()
    uri = model or settings.model_uri(loaded.model)
    return InMemory(loaded, resolve_by_settings(settings, uri, loaded))
