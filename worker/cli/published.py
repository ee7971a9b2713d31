"""Finds published predictions and alarms of a key."""

from collections.abc import Iterator
from typing import Any

from common.errors import UserError
from common.times import HOUR_MS
from schemas.codec import decode
from schemas.registry import registry_at, writer_schema_lookup
from worker.config.inputs_outputs import Output
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.kafka.message import key_of, value_of
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_reader import MANY, TopicReader
from worker.score.decode import WriterSchemaOf

# How far a key's reading may lie before the requested time, and how far clocks may differ.
_SHORTLY_MS = HOUR_MS


def place_of(record: dict[str, Any]) -> tuple[str, int, int]:
    """Topic id, partition and offset of the reading that a published record is about."""
    return record.get("source_topic_id") or "", record["source_partition"], record["source_offset"]


def reading_of_alarm(settings: Settings, pipeline: Pipeline, alarm_id: str) -> tuple[str, int]:
    """Key and event time (ms) of the reading that raised an alarm.

    Raises:
        UserError: the pipeline has no alarms, or the topic has none with this id.
        DependencyDownError: broker or registry does not answer.
    """
    output, source = pipeline.outputs.alarms, pipeline.input
    if output is None:
        raise UserError(f"pipeline {pipeline.name} publishes no alarms; give --key and --at")
    lookup = writer_schema_lookup(registry_at(settings.registry_url), pipeline.known_schemas)
    with TopicReader(reachable_config(settings.bootstrap_servers), per_call=MANY) as log:
        for messages in log.read(output.topic, log.spans(output.topic)):
            for message in messages:
                if (value := value_of(message)) is None or alarm_id.encode() not in value:
                    continue
                record = pipeline.outputs.with_engine_names(decode(value, lookup, output.avro_schema))
                if record["alarm_id"] == alarm_id:
                    return record[source.key], record[source.time]
    raise UserError(
        f"{output.topic} has no alarm {alarm_id}; check the id (`hazardstream tail alarms --from-beginning` shows "
        "all) and the topic's retention"
    )


class Published:
    """The published predictions and alarms of a key."""

    def __init__(self, log: TopicReader, pipeline: Pipeline, lookup: WriterSchemaOf) -> None:
        self._log, self._pipeline, self._lookup = log, pipeline, lookup

    def prediction(self, key: str, at_ms: int, until_ms: int) -> dict[str, Any]:
        """The prediction for the key's reading at this event time (ms), or for its last one up to `until_ms`."""
        output, source = self._pipeline.outputs.predictions, self._pipeline.input
        latest: dict[str, Any] | None = None
        later: dict[str, Any] | None = None
        for record in self._records(output, key, at_ms):
            if record[source.time] > until_ms:
                later = record
                break
            latest = record
            if record[source.time] == at_ms:
                break
        if latest is None:
            hint = f"; the next one after it is at {later[source.time]} ms" if later else ""
            raise UserError(
                f"{output.topic} has no prediction for {source.key} {key!r} at {at_ms} ms or shortly before{hint}; "
                "check the key, the time (event time of the reading) and the topic's retention"
            )
        return latest

    def alarms(self, key: str, ts: int, prediction: dict[str, Any]) -> list[dict[str, Any]]:
        """The alarm transitions that the reading of this prediction caused, in the order of their records."""
        place, output, found = place_of(prediction), self._pipeline.outputs.alarms, []
        if output is None:
            return []
        for record in self._records(output, key, ts, prediction["source_partition"]):
            if place_of(record) == place:
                found.append(record)
            elif found:
                break
        return found

    def _records(self, output: Output, key: str, ts: int, number: int | None = None) -> Iterator[dict[str, Any]]:
        """A key's records around and after an event time. Outputs about a reading are written after it arrived."""
        schema, wanted = output.avro_schema, key.encode()
        since = ts - self._pipeline.input.max_future_ms - _SHORTLY_MS
        spans = self._log.spans_since(output.topic, since, None if number is None else {number})
        for messages in self._log.read(output.topic, spans):
            for message in messages:
                if key_of(message) == wanted and (value := value_of(message)) is not None:
                    yield self._pipeline.outputs.with_engine_names(decode(value, self._lookup, schema))
