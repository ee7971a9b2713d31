"""Recomputes a past prediction from the log, and compares it bit for bit with the published one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from common.errors import UserError
from schemas.registry import registry_at, writer_schema_lookup
from worker.admission.admit import demands_of
from worker.admission.compatibility import require_fit
from worker.admission.source import resolve
from worker.cli.published import Published, place_of
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.consume.message_columns import batch_of
from worker.kafka.client_config import admin_client
from worker.kafka.message import time_of
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import MANY, Span, TopicReader
from worker.model.contract import Model
from worker.model.package_files import PackageError
from worker.model.shap import Explanation, explain_rows, values_of
from worker.recover.replay_exclusions import replay_exclusions
from worker.score.decode import WriterSchemaOf
from worker.score.feature_plan import plan_for
from worker.score.outcome import Outcome
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition


@dataclass(frozen=True)
class Explained:
    """A past reading and its prediction.

    Attributes:
        prediction: the published record, under the engine's field names.
        alarms: the published alarm transitions that the reading caused, likewise; the model's own first.
        probability: recomputed.
        same_bits: whether it equals the published one bit for bit.
        same_contributions: whether the contributions published with the alarm are equal; None without an alarm, and if
            the model does not say them.
        readings_in_window: recomputed.
        window: event times, ms, and rolled sensors, scaled, oldest first.
        features: by name, as the model gets them; None where missing.
        explanation: contributions to the log-odds.
        package: the model that scored.
        rebuilt_from: offset of the first message that was replayed.
    """

    prediction: dict[str, Any]
    alarms: list[dict[str, Any]]
    probability: float
    same_bits: bool
    same_contributions: bool | None
    readings_in_window: int
    window: dict[str, Any]
    features: dict[str, float | str | None]
    explanation: Explanation
    package: Model
    rebuilt_from: int

    @property
    def alarm(self) -> dict[str, Any] | None:
        """The first of `alarms`; None without one."""
        return self.alarms[0] if self.alarms else None


def explain(settings: Settings, pipeline: Pipeline, key: str, at_ms: int, until_ms: int | None = None) -> Explained:
    """Recompute the prediction for a key's reading at this event time, or for the last reading before it.

    Args:
        settings: broker and registry; a model in it is used instead of the one that the prediction names.
        pipeline: that scored the reading.
        key: of the reading.
        at_ms: event time, ms.
        until_ms: if no reading has exactly this time, the last one up to here is taken; by default `at_ms`.

    Raises:
        UserError: there is no such prediction, its reading or model no longer exists, or the pipeline has aggregates.
        DependencyDownError: broker, registry or MLflow do not answer.
    """
    if pipeline.input.key_field is None or pipeline.input.time_field is None:
        raise UserError(
            f"pipeline {pipeline.name} names no fields for key and time (`key` and `time` of `input`), by which a "
            "prediction is found"
        )
    if pipeline.layout is not None:
        raise UserError(
            f"pipeline {pipeline.name} has aggregates over event time (features with `over`); explain computes a "
            "reading again from the log's short windows only, so it cannot compute their values as they were"
        )
    lookup = writer_schema_lookup(registry_at(settings.registry_url), pipeline.known_schemas)
    config = reachable_config(settings.bootstrap_servers)
    with TopicReader(config, per_call=MANY) as log:
        published = Published(log, pipeline, lookup)
        prediction = published.prediction(key, at_ms, at_ms if until_ms is None else until_ms)
        number, offset = prediction["source_partition"], prediction["source_offset"]
        _require_same_topic(config, pipeline.input.topic, prediction)
        alarms = published.alarms(key, prediction[pipeline.input.time], prediction)
        package = _model(settings, pipeline, prediction)
        probability = published_value(prediction)
        rebuilds = _rebuilds(log, pipeline, package, lookup, prediction)
        for rebuilt in rebuilds:
            start, outcome, window = rebuilt
            again = float(outcome.scored.probability[0]) if len(outcome.scored.probability) else None
            # Two window spans are enough if the log is in the order of event time; otherwise it may take more.
            if again == probability or package.version != prediction["model_version"]:
                break
    if again is None:
        raise UserError(
            f"the reading at partition {number}, offset {offset} gets no score when it is recomputed from "
            f"offset {start}; check that --pipeline is the pipeline that scored it"
        )
    explanation = explain_rows(package, outcome.scored.features)[0]
    return Explained(
        prediction,
        alarms,
        again,
        again == probability,
        _same_contributions(alarms, explanation),
        int(outcome.scored.in_window[0]),
        window,
        values_of(package, outcome.scored.features.take([0])),
        explanation,
        package,
        start,
    )


def published_value(prediction: dict[str, Any]) -> float:
    """What the model gave: a probability, or for regression the value."""
    return float(prediction["value"] if "value" in prediction else prediction["probability"])


def _require_same_topic(config: dict[str, Any], topic: str, prediction: dict[str, Any]) -> None:
    """Check that the input topic was not recreated since: a new topic has other readings at the same offsets."""
    now, published = topic_id_of(admin_client(config), topic), prediction.get("source_topic_id") or ""
    if published and now not in {"", published}:
        raise UserError(
            f"the reading of this prediction is gone: {topic} was deleted and created again since (its topic id was "
            f"{published} and is now {now}); choose a time after that"
        )


def _same_contributions(alarms: list[dict[str, Any]], explanation: Explanation) -> bool | None:
    if not alarms or explanation.bias is None:
        return None
    return all(_published(alarm) == explanation.published() for alarm in alarms)


def _published(alarm: dict[str, Any]) -> dict[str, Any]:
    return {field: alarm[field] for field in ("contributions", "other_contributions", "bias")}


def _model(settings: Settings, pipeline: Pipeline, prediction: dict[str, Any]) -> Model:
    """The model version that a prediction names, from wherever it is found; or the model in the settings."""
    name, version = prediction["model_name"], prediction["model_version"]
    candidates = [settings.model_uri(pipeline.model)]
    if settings.model is None and version.isdecimal():
        candidates.insert(0, f"models:/{name}/{version}")
    # A model that failed in use later made this prediction all the same.
    demands = replace(demands_of(settings, pipeline), failures=None)
    reasons = []
    for uri in candidates:
        try:
            package = resolve(
                uri, cache_directory=settings.cache_directory, tracking_uri=settings.tracking_uri, demands=demands
            )
            require_fit(package, pipeline)
        except UserError as error:
            if uri == candidates[0] and isinstance(error, PackageError) and error.fault != "not_there":
                raise UserError(f"model {name} {version}, which made this prediction, was refused: {error}") from error
            reasons.append(str(error))
            continue
        if settings.model is not None or (package.name, package.version) == (name, version):
            return package
        reasons.append(f"{uri} is {package.name} {package.version}")
    raise UserError(
        f"model {name} {version}, which made this prediction, was not found ({'; '.join(dict.fromkeys(reasons))}); "
        "set MLFLOW_TRACKING_URI to a registry that has it, or give its directory with --model"
    )


def _rebuilds(
    log: TopicReader, pipeline: Pipeline, package: Model, lookup: WriterSchemaOf, prediction: dict[str, Any]
) -> Iterator[tuple[int, Outcome, dict[str, Any]]]:
    """Rebuild the windows, each time from an earlier start.

    Yields:
        Offset of the first replayed message, outcome of the message that the prediction is about, and its window.
    """
    topic, (topic_id, number, offset) = pipeline.input.topic, place_of(prediction)
    low, high = log.spans(topic, {number})[number]
    itself = log.read(topic, {number: Span(offset, offset + 1)}) if low <= offset < high else iter(())
    arrived = next((time_of(m) for some in itself for m in some), None)
    if arrived is None:
        raise UserError(
            f"the reading ({topic}, partition {number}, offset {offset}) is no longer in the log, which begins at "
            f"offset {low}; to explain predictions, retain {topic} for as long as you want to explain them"
        )
    reach_ms = plan_for(package, pipeline).rebuild_reach_ms(pipeline.input.max_future_ms)
    while True:
        start = max(low, min(log.since(topic, number, arrived - reach_ms, high), offset))
        start = start if reach_ms else offset
        partition = Partition(number, start, offset)
        partition.exclusions = replay_exclusions(log, pipeline, topic_id, partition)
        yield start, *_rebuild(log, pipeline, package, lookup, partition)
        if start == low or not reach_ms:
            return
        reach_ms *= 4


def _rebuild(
    log: TopicReader, pipeline: Pipeline, package: Model, lookup: WriterSchemaOf, partition: Partition
) -> tuple[Outcome, dict[str, Any]]:
    """Replay messages as a worker does on assignment; only the last one counts as live."""
    number, start, offset = partition.number, partition.next_offset, partition.live_from
    source = pipeline.input
    scorer = scorer_of(pipeline, package, package.policy, lookup)
    partitions = {number: partition}
    scorer.alarms.assign(number, {})
    for messages in log.read(source.topic, {number: Span(start, offset + 1)}):
        if not messages:
            continue
        outcome = scorer.process(batch_of(messages), partitions)
        scorer.merge(outcome, partitions)
        if messages[-1].offset() == offset:
            keys = outcome.scored.origin.keys
            return outcome, (scorer.windows.of(partitions[number], keys[-1]) if keys else None) or {}
    raise UserError(
        f"{source.topic}, partition {number}, offset {offset} cannot be read: its transaction may have been aborted"
    )
