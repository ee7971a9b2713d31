"""Records to publish for a batch: encoded predictions, alarm transitions, alarm state and dead letters."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from schemas.codec import encode
from schemas.columnar_encoder import Column, Nullable, encode_columns
from schemas.load import Schema, parsed
from schemas.text_column import NullableText
from schemas.wire import Headers as SentHeaders
from schemas.wire import single_object_prefix
from worker.alarms.state_machine import IDLE, AlarmState
from worker.config.inputs_outputs import Input
from worker.config.output_fields import Scores
from worker.config.pipeline import Pipeline
from worker.encode.dead_letter import OMITTED, Original, letter_headers
from worker.kafka.message import LOG_APPEND_TIME, Headers
from worker.kafka.records import HEADER_ALLOWANCE, Bulk, Outgoing, Record, headers_size
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.readings import Origin, Rejection

PASSED_HEADERS_BYTES = 2048


class Encoder:
    """Turns outcomes into records.

    Args:
        pipeline: names the topics, schemas and fields.
        prefixes: wire-format prefix by output role; single-object encoding where absent.
        dead_letter_max_bytes: largest record that the dead-letter topic takes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        prefixes: Mapping[str, bytes],
        dead_letter_max_bytes: int,
    ) -> None:
        self._pipeline = pipeline
        outputs = pipeline.outputs
        records = pipeline.records
        written = ("predictions", "alarms", "alarm_state")
        self._schemas: dict[str, Schema] = {role: records[role].schema for role in written if role in records}
        self._topics = pipeline.topics
        self._parsed = {role: parsed(schema) for role, schema in self._schemas.items()}
        self._prefixes = {role: prefixes.get(role) or single_object_prefix(s) for role, s in self._schemas.items()}
        self._dead_letter_max_bytes = dead_letter_max_bytes
        self._passed_on = frozenset(outputs.headers)
        self._predicted = _predicted(pipeline)

    def records(self, outcome: Outcome, topic_id: str = "") -> Outgoing:
        """All records of a batch.

        Args:
            outcome: of the batch.
            topic_id: of the input topic. It tells readings of a recreated topic from those of the former one.
        """
        # In the order of the input, in which they may be redriven.
        rejections = sorted(outcome.rejections, key=lambda rejection: rejection.row)
        dead_letters = [self._dead_letter(outcome.batch, rejection, topic_id) for rejection in rejections]
        headers = self._headers(outcome)
        predictions = self._predictions(outcome, topic_id, headers)
        records = [*self._alarms(outcome, topic_id, headers), *self._states(outcome), *dead_letters]
        return Outgoing(predictions, records, bool(headers))

    def _headers(self, outcome: Outcome) -> dict[int, Headers]:
        """By scored row, the headers that are passed on from a reading to its prediction and alarm."""
        sent = outcome.batch.headers
        if not (self._passed_on and sent):
            return {}
        rows = enumerate(outcome.scored.readings.row.tolist())
        passed = {at: self._passed(sent[row]) for at, row in rows if row in sent}
        return {at: headers for at, headers in passed.items() if headers}

    def _passed(self, headers: SentHeaders) -> Headers:
        passed = [(name, value) for name, value in headers if name in self._passed_on]
        # Larger headers are no trace context, and a topic might reject them.
        return passed if headers_size(passed) <= PASSED_HEADERS_BYTES else []

    def _predictions(self, outcome: Outcome, topic_id: str, headers: Mapping[int, Headers]) -> Bulk:
        scores = Scores(outcome, self._pipeline.input.sensors(), topic_id, time.time_ns() // 1_000_000)
        named = self._pipeline.outputs.with_schema_names({name: of(scores) for name, of in self._predicted.items()})
        rows, schema = len(outcome.scored.readings.ts), self._schemas["predictions"]
        values = encode_columns(schema, named, rows, self._prefixes["predictions"])
        return in_bulk(self._pipeline.outputs.predictions.topic, outcome.scored.origin, values, headers)

    def _alarms(self, outcome: Outcome, topic_id: str, headers: Mapping[int, Headers]) -> list[Record]:
        origin, records = outcome.scored.origin, []
        for transition, explanation in zip(outcome.alarms.transitions, outcome.explanations, strict=True):
            row, state = transition.row, transition.state
            fields = self._identity(outcome, row) | {
                "alarm_id": state.alarm_id,
                "state": transition.kind,
                "priority": state.priority,
                "rule": transition.rule or None,
                "onset_ts": state.onset_ts,
                "probability": float(outcome.scored.probability[row]),
                "peak_probability": state.peak_probability,
                **explanation.published(),
                "model_name": outcome.model.name,
                "model_version": outcome.model.version,
                "source_topic_id": topic_id,
                "source_partition": int(origin.partition[row]),
                "source_offset": int(origin.offset[row]),
            }
            record = self._record("alarms", origin, row, fields)
            records.append(record._replace(headers=headers.get(row)))
        return records

    def _states(self, outcome: Outcome) -> list[Record]:
        records: list[Record] = []
        for (partition, key), (row, state) in outcome.alarms.changed.items():
            if state == IDLE:
                records.append(Record(self._topics["alarm_state"], partition, key, None))
                continue
            fields = self._identity(outcome, row) | {
                "state": "ACTIVE" if state.active else "NORMAL",
                "priority": state.priority,
                "alarm_id": state.alarm_id,
                "pending_since_ts": state.pending_since_ts,
                "clearing_since_ts": state.clearing_since_ts,
                "onset_ts": state.onset_ts,
                "probability": float(outcome.scored.probability[row]),
                "peak_probability": state.peak_probability,
                "model_version": outcome.model.version,
            }
            records.append(self._record("alarm_state", outcome.scored.origin, row, fields)._replace(key=key))
        return records

    def _identity(self, outcome: Outcome, row: int) -> dict[str, Any]:
        readings, source = outcome.scored.readings, self._pipeline.input
        return {
            source.key: readings.key[row],
            source.group: readings.group[row],
            source.time: int(readings.ts[row]),
        }

    def _record(self, role: str, origin: Origin, row: int, fields: Mapping[str, Any]) -> Record:
        named, declared = self._pipeline.outputs.with_schema_names(fields), self._pipeline.records[role].rules
        value = encode({n: v for n, v in named.items() if n in declared}, self._parsed[role], self._prefixes[role])
        return Record(self._topics[role], int(origin.partition[row]), origin.keys[row], value)

    def _dead_letter(self, batch: Batch, rejection: Rejection, topic_id: str) -> Record:
        row = rejection.row
        partition, time_ms, time_type = (
            int(column[row]) for column in (batch.partition, batch.broker_ts, batch.timestamp_type)
        )
        original = Original(self._pipeline.input.topic, partition, int(batch.offset[row]), topic_id)
        added = letter_headers(original, rejection.reason, rejection.message, time_ms, time_type)
        key, value, headers = batch.keys[row], batch.values[row], list(batch.headers.get(row, ()))
        sizes = {"value": len(value or b""), "headers": headers_size(headers), "key": len(key or b"")}
        # The topic would reject a record that is too large, and the whole batch with it, at every attempt. The
        # original can still be read at the offset in the headers.
        for part, name in OMITTED.items():
            if sum(sizes.values()) + HEADER_ALLOWANCE > self._dead_letter_max_bytes and sizes[part]:
                added[name] = f"{sizes[part]} bytes, and the dead-letter topic takes {self._dead_letter_max_bytes}"
                sizes[part] = 0
        value, key = None if OMITTED["value"] in added else value, None if OMITTED["key"] in added else key
        headers = [] if OMITTED["headers"] in added else headers
        headers += [(name, text.encode()) for name, text in added.items()]
        # Retention counts from when the letter was written. Whatever this machine's clock says, that is not before the
        # broker had the original: worker/recover/replay_exclusions.py finds letters by it.
        timestamp = max(time.time_ns() // 1_000_000, time_ms if time_type == LOG_APPEND_TIME else 0)
        topic = self._pipeline.outputs.dead_letters.topic
        return Record(topic, partition, key, value, headers, timestamp)


def _predicted(pipeline: Pipeline) -> dict[str, Callable[[Scores], Column]]:
    """What the predictions carry, by the engine's field names: the values of the fields that their schema declares."""
    declared = pipeline.records["predictions"].rules
    written = [each for name, each in pipeline.written("predictions").items() if name in declared]
    return {each.engine_name: each.field.value or _copy(pipeline.input, each.engine_name) for each in written}


def _nullable(texts: NullableText) -> Nullable:
    return Nullable(texts.text, texts.present)


def _copy(source: Input, name: str) -> Callable[[Scores], Column]:
    """A field of the readings as a column."""
    if name in source.categories():
        return lambda scores: _nullable(scores.outcome.scored.readings.categories[name])
    at = source.sensors().index(name)

    def numbers(scores: Scores) -> Column:
        readings = scores.outcome.scored.readings
        present = readings.present[:, at]
        return Nullable(np.where(present, readings.values[:, at], 0.0), present)

    return numbers


def in_bulk(topic: str, origin: Origin, values: list[bytes], headers: Mapping[int, Headers] | None = None) -> Bulk:
    """Records, one for each reading, with the key and the partition of the reading.

    Args:
        topic: where they go.
        origin: of the readings.
        values: encoded, one for each reading.
        headers: by row, where a record has any.
    """
    by_place: Bulk = defaultdict(list)
    for row, (partition, key, value) in enumerate(zip(origin.partition.tolist(), origin.keys, values, strict=True)):
        record: dict[str, Any] = {"key": key or None, "value": value}
        if headers and row in headers:
            record["headers"] = headers[row]
        by_place[topic, partition].append(record)
    return dict(by_place)


def state_from(record: Mapping[str, Any]) -> AlarmState:
    """The alarm that a record of alarm state, under the engine's field names, describes."""
    return AlarmState(
        active=record["state"] == "ACTIVE",
        **{f: record[f] for f in ("priority", "alarm_id", "pending_since_ts", "clearing_since_ts", "onset_ts")},
        peak_probability=record["peak_probability"],
    )
