"""Checks predictions on Kafka against what the model itself predicts for the same rows, exactly."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from local.audit import address_of, read_all
from producers.rows import Address
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from training.fitting.predictions import measure, predict
from training.registry.load_model import load_registered
from training.run.replay import Replay
from worker.config.pipeline import Pipeline
from worker.config.task import Task
from worker.kafka.message import value_of
from worker.model.contract import Prediction

_WITHIN_S = 120.0


@dataclass(frozen=True)
class Check:
    """What became of the published records.

    Attributes:
        scored: records with a prediction.
        missing: records without one.
        duplicates: predictions beyond the first of a record.
        differing: predictions that are not exactly those of their model version's own `predict`.
        dead_lettered: records that went to the dead-letter topic; they are missing, too.
        metrics: of the predictions for rows that the model was not trained with.
    """

    scored: int
    missing: int
    duplicates: int
    differing: int
    dead_lettered: int
    metrics: dict[str, float]


def check_predictions(
    pipeline: Pipeline, bootstrap: str, tracking_uri: str, replay: Replay, addresses: Sequence[Address]
) -> Check:
    """Await an outcome of each record, and check all predictions.

    Args:
        pipeline: whose task is known from its file.
        bootstrap: brokers.
        tracking_uri: MLflow, which has the model versions.
        replay: what was published.
        addresses: where each record is stored [n].
    """
    wanted = dict(zip(addresses, range(len(addresses)), strict=True))
    records, dead = _outcomes(pipeline, bootstrap, wanted)
    counts = Counter(number for number, _ in records)
    first = dict(reversed(records))
    differing, metrics = _compare(pipeline, tracking_uri, replay, first)
    return Check(
        scored=len(counts),
        missing=len(wanted) - len(counts),
        duplicates=len(records) - len(counts),
        differing=differing,
        dead_lettered=dead,
        metrics=metrics,
    )


def _outcomes(
    pipeline: Pipeline, bootstrap: str, wanted: dict[Address, int]
) -> tuple[list[tuple[int, dict[str, Any]]], int]:
    """Predictions of the records by their number, and how many are dead letters; once there is one for each."""
    lookup, outputs = writer_schema_lookup(None, pipeline.known_schemas), pipeline.outputs

    def read() -> tuple[list[tuple[int, dict[str, Any]]], int]:
        found = []
        for message in read_all(outputs.predictions.topic, bootstrap):
            decoded = decode(value_of(message) or b"", lookup, outputs.predictions.avro_schema)
            record = outputs.with_engine_names(decoded)
            if (number := wanted.get((record["source_partition"], record["source_offset"]))) is not None:
                found.append((number, record))
        places = {address_of(letter) for letter in read_all(outputs.dead_letters.topic, bootstrap)}
        return found, len(places & wanted.keys())

    attempts = Retrying(
        stop=stop_after_delay(_WITHIN_S),
        wait=wait_fixed(1.0),
        retry=retry_if_result(lambda seen: len({number for number, _ in seen[0]}) + seen[1] < len(wanted)),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else ([], 0),
    )
    outcome: tuple[list[tuple[int, dict[str, Any]]], int] = attempts(read)
    return outcome


def _compare(
    pipeline: Pipeline, tracking_uri: str, replay: Replay, records: dict[int, dict[str, Any]]
) -> tuple[int, dict[str, float]]:
    """How many predictions differ from their version's own, and the metrics of the latest version's."""
    task, differing, metrics = Task(pipeline.expected_task), 0, dict[str, float]()
    for version in sorted({record["model_version"] for record in records.values()}, key=int):
        numbers = np.array(sorted(n for n, record in records.items() if record["model_version"] == version))
        model = load_registered(records[int(numbers[0])]["model_name"], version, tracking_uri=tracking_uri)
        classes = tuple(str(each) for each in getattr(model.estimator, "classes_", ()))
        own = predict(model.estimator, task, replay.inputs.iloc[numbers])
        streamed = _prediction(task, [records[n] for n in numbers.tolist()], classes)
        same = own.value == streamed.value
        if own.probabilities is not None and streamed.probabilities is not None:
            same &= (own.probabilities == streamed.probabilities).all(axis=1) & (own.label == streamed.label)
        differing += int((~same).sum())
        if (tested := replay.held_out[numbers]).any():
            metrics = measure(
                task, replay.truth[numbers][tested], streamed.take(np.flatnonzero(tested)), model.threshold
            )
    return differing, metrics


def _prediction(task: Task, records: list[dict[str, Any]], classes: tuple[str, ...]) -> Prediction:
    if task == Task.REGRESSION:
        return Prediction(np.array([record["value"] for record in records]))
    value = np.array([record["probability"] for record in records])
    if task == Task.BINARY:
        return Prediction(value)
    label = np.array([classes.index(record["predicted_class"]) for record in records])
    probabilities = np.array([[record["probabilities"][name] for name in classes] for record in records])
    return Prediction(value, label, probabilities)
