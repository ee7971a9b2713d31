"""Training rows from recorded topics: normal operation, without what surrounds events and alarms."""

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from common.arrays import Bool, Float, Int
from common.errors import UserError
from common.times import DAY_MS
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.fitting.models import Rows
from schemas.registry import registry_at, writer_schema_lookup
from training.evaluation.alarm_outcomes import Alarm
from training.evaluation.labelled_event import OUT_OF_SERVICE_MS, LabelledEvent, by_key, normal_operation
from training.monitoring.performance.labels import EVENT, FALSE_ALARM, Label, labels_from
from training.monitoring.performance.rolling import alarms_from
from training.monitoring.topics import MonitoringTopics
from worker.config.settings import Settings
from worker.consume.message_columns import batch_of
from worker.kafka.client_config import client_config
from worker.kafka.message import key_of
from worker.kafka.topic_reader import MANY, TopicReader
from worker.score.decode import Decoder
from worker.score.scorer import key_texts
from worker.score.validate import Validator
from worker.windows.offline import offline_features

_LOG = structlog.get_logger(__name__)
_READINGS = 2_000_000
"""More readings do not fit into memory; then only a sample of the modules is used."""
_ROWS = 200_000
"""Normal readings are thinned to this number: neighbours are nearly alike, and must not outweigh simulated events."""


@dataclass
class _Recording:
    """Readings of one partition in the order of their offsets, in pieces."""

    key: list[Int] = field(default_factory=list)
    ts: list[Int] = field(default_factory=list)
    values: list[Float] = field(default_factory=list)


@dataclass
class _Modules:
    """Number and group of each module."""

    number: dict[str, int] = field(default_factory=dict)
    group: list[str] = field(default_factory=list)

    def of(self, key: bytes, group: str) -> int:
        name = key.decode()
        if name not in self.number:
            self.number[name] = len(self.group)
            self.group.append(group)
        return self.number[name]


def recorded_rows(settings: Settings, *, days: float, now_ms: int) -> Rows | None:
    """Normal operation of the last days, with the features that the worker computes; None if nothing is recorded.

    Readings around confirmed events are left out. So are those around alarms that nobody has marked as false, because
    these may be events. All readings within alarms marked as false are used; other readings are thinned.

    Args:
        settings: name pipeline, brokers and registry.
        days: how far back, by Kafka's timestamps.
        now_ms: to count back from.

    Raises:
        UserError: a topic is missing, or its records do not fit the model.
        DependencyDownError: broker or registry does not answer.
    """
    with MonitoringTopics(settings) as topics:
        pipeline, horizon_ms = topics.pipeline, topics.monitor.performance.horizon_ms
        if lacking := [name for name in FEATURES.sensors if name not in pipeline.input.sensors()]:
            raise UserError(
                f"pipeline {pipeline.name} has no sensors {', '.join(lacking)}, which the model needs; retrain it for "
                "a pipeline with these"
            )
        labels = labels_from(topics.news("labels"), pipeline)
        published = list(topics.news("alarms"))
    modules = _Modules()
    recordings = _read(settings, topics, modules, round(now_ms - days * DAY_MS))
    built = zip(modules.number, modules.group, strict=True)
    scales = np.array([FEATURES.scales(pipeline.topology.of(name, group)) for name, group in built])
    alarms = alarms_from(published, pipeline, modules.number)
    features, marked = [], []
    for recording in recordings.values():
        key, ts = np.concatenate(recording.key), np.concatenate(recording.ts)
        values = np.concatenate(recording.values)
        computed, rows = offline_features(FEATURES, key, ts, values, scales)
        normal, in_false_alarm = _normal_and_marked(key[rows], ts[rows], alarms, labels, modules.number, horizon_ms)
        features.append(computed[normal].astype(np.float32))
        marked.append(in_false_alarm[normal])
    if not sum(map(len, marked)):
        return None
    return _thinned(np.concatenate(features), np.concatenate(marked))


def _read(settings: Settings, topics: MonitoringTopics, modules: _Modules, since_ms: int) -> Mapping[int, _Recording]:
    source = topics.pipeline.input
    columns = [source.sensors().index(name) for name in FEATURES.sensors]
    registry = registry_at(settings.registry_url)
    decode = Decoder(source, writer_schema_lookup(registry, topics.pipeline.known_schemas))
    validate = Validator(source)
    recordings: dict[int, _Recording] = defaultdict(_Recording)
    with TopicReader(client_config(settings.bootstrap_servers), per_call=MANY) as reader:
        spans = reader.spans_since(source.topic, since_ms)
        readings = sum(span.high - span.low for span in spans.values())
        below = min(1.0, _READINGS / max(readings, 1)) * 2**32
        _LOG.info("reading recorded readings", readings=readings, share_of_modules=round(below / 2**32, 3))
        for messages in reader.read(source.topic, spans):
            batch = batch_of([m for m in messages if zlib.crc32(key_of(m) or b"") < below])
            found, _ = decode(batch.values, batch.framed)
            valid, _ = validate(found, batch.key_column(), batch.broker_ts)
            kept = valid.readings
            key = np.array(
                [modules.of(name, kept.group[i]) for i, name in enumerate(key_texts(batch, valid))], np.int64
            )
            partition = batch.partition[kept.row]
            for number in np.unique(partition).tolist():
                rows, recording = partition == number, recordings[number]
                recording.key.append(key[rows])
                recording.ts.append(kept.ts[rows])
                recording.values.append(kept.values[np.ix_(rows, columns)])
    return recordings


def _normal_and_marked(
    key: Int,
    ts: Int,
    alarms: Sequence[Alarm],
    labels: Sequence[Label],
    numbers: Mapping[str, int],
    horizon_ms: int,
) -> tuple[Bool, Bool]:
    """Masks [n] of the readings in normal operation, and of those within an alarm that was marked as false."""
    marks = [(numbers.get(label.key, -1), label.ts) for label in labels if label.kind == FALSE_ALARM]
    events = [
        LabelledEvent(numbers[label.key], label.ts, label.ts + OUT_OF_SERVICE_MS)
        for label in labels
        if label.kind == EVENT and label.key in numbers
    ]
    marked: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for alarm in alarms:
        end = np.iinfo(np.int64).max if alarm.cleared_ts is None else alarm.cleared_ts
        if any(alarm.key == module and alarm.onset_ts <= at <= end for module, at in marks):
            marked[alarm.key].append((alarm.onset_ts, end))
        else:
            events.append(LabelledEvent(alarm.key, alarm.onset_ts, min(end, alarm.ts + OUT_OF_SERVICE_MS) + horizon_ms))
    normal, in_false_alarm = np.ones(len(ts), np.bool_), np.zeros(len(ts), np.bool_)
    for module, own in by_key(events).items():
        rows = np.flatnonzero(key == module)
        normal[rows] = normal_operation(ts[rows], own, horizon_ms)
    for module, spans in marked.items():
        for begin, end in spans:
            in_false_alarm |= (key == module) & (ts >= begin) & (ts <= end)
    return normal, in_false_alarm


def _thinned(features: Float, marked: Bool) -> Rows:
    plain = np.flatnonzero(~marked)
    keep = np.concatenate((plain[:: max(1, -(-len(plain) // _ROWS))], np.flatnonzero(marked)))
    zeros = np.zeros(len(keep), np.float32)
    return Rows(features[keep], zeros, np.ones_like(zeros))
