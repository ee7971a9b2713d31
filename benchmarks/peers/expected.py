"""The expected predictions for the readings on a topic, by our own offline kernel, and a check against them."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Message

from common.arrays import Float
from local.audit import read_all
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage
from worker.windows.offline import offline_features

TOLERANCE = 1e-6
# pandas' `rolling` keeps running sums, which collect rounding errors. A feature next to a tree's split may then fall on
# the other side: seen once in 400,000 predictions.
MAY_BE_OFF = 1e-4


@dataclass(frozen=True)
class Expected:
    """All readings of the input topic, in the order in which they were read.

    Attributes:
        features: of each reading, shape [n, f].
        names: of the features.
        probability: of each reading, shape [n].
        place: index of each reading in the series of its module, shape [n].
        module: number of each reading's module, shape [n].
        row: of the reading of a module at a time.
    """

    features: Float
    names: list[str]
    probability: Float
    place: Any
    module: Any
    row: dict[tuple[str, int], int]

    def faults(self, predictions: list[tuple[int, float]]) -> list[str]:
        """Faults of predictions, given as row and probability; empty if each is ours and appears once.

        One in `1 / MAY_BE_OFF` may differ by more than `TOLERANCE`; `off` counts these.
        """
        rows, probability = map(np.array, zip(*predictions, strict=True))
        found = []
        if doubled := len(rows) - len(np.unique(rows)):
            found.append(f"{doubled} readings were predicted more than once")
        if (wrong := self.off(predictions)) > MAY_BE_OFF * len(rows):
            worst = np.abs(probability - self.probability[rows]).max()
            found.append(f"{wrong} of {len(rows)} probabilities are off, by up to {worst:.2g}")
        return found

    def off(self, predictions: list[tuple[int, float]]) -> int:
        """How many probabilities differ from ours by more than `TOLERANCE`."""
        rows, probability = map(np.array, zip(*predictions, strict=True))
        return int((~(np.abs(probability - self.probability[rows]) <= TOLERANCE)).sum())

    def gaps(self, predictions: list[tuple[int, float]]) -> list[str]:
        """Faults if readings were skipped. A peer stopped early must have scored the first readings of each module."""
        rows = np.unique([row for row, _ in predictions])
        reached = np.full(self.module.max() + 1, -1)
        np.maximum.at(reached, self.module[rows], self.place[rows])
        gaps = int((reached + 1).sum()) - len(rows)
        return [f"{gaps} readings were skipped"] if gaps else []

    def of_avro(self, messages: list[Message], pipeline: Pipeline) -> list[tuple[int, float]]:
        """Row and probability of a pipeline's Avro predictions."""
        writer_schema_of = writer_schema_lookup(None, pipeline.known_schemas)
        reader = pipeline.records["predictions"].schema
        records = [decode(message.value(), writer_schema_of, reader) for message in messages]
        return [(self.row[r["module_id"], r["ts"]], r["hazard_probability"]) for r in records]


def expected(pipeline: Pipeline, package: ModelPackage, bootstrap: str) -> Expected:
    """Score all readings of the input topic."""
    source, spec = pipeline.input, package.spec
    writer_schema_of, reader = writer_schema_lookup(None, pipeline.known_schemas), source.avro_schema
    records = [decode(m.value(), writer_schema_of, reader) for m in read_all(source.topic, bootstrap)]
    # In order of time, because partitions arrive in any order and the kernel's stream time follows its input.
    records.sort(key=lambda record: record[source.time])
    numbers: dict[str, int] = {}
    module = np.array([numbers.setdefault(record[source.key], len(numbers)) for record in records])
    ts = np.array([record[source.time] for record in records])
    values = np.array([[record[name] for name in spec.sensors] for record in records], np.float64)
    scales = np.tile(spec.scales(dict(pipeline.topology.default)), (len(numbers), 1))
    features, rows = offline_features(spec, module, ts, values, scales)
    ordered = np.empty_like(features)
    ordered[rows] = features
    order = np.argsort(module, kind="stable")
    first = np.concatenate(([0], np.flatnonzero(np.diff(module[order])) + 1))
    place = np.empty(len(module), np.int64)
    place[order] = np.arange(len(module)) - np.repeat(first, np.diff(np.append(first, len(module))))
    return Expected(
        ordered,
        spec.names,
        package.score(ordered),
        place,
        module,
        {(record[source.key], record[source.time]): n for n, record in enumerate(records)},
    )


def of_mlserver(messages: list[Message]) -> list[tuple[int, float]]:
    """Row (the id of the request) and probability of MLServer's responses."""
    answers = [json.loads(message.value()) for message in messages]
    return [(int(answer["id"]), answer["outputs"][0]["data"][0]) for answer in answers]
