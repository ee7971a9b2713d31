"""What the readings on a topic must be scored as, by this project's own offline kernel; and the check against it."""

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
# Running sums, which pandas' `rolling` keeps, end up a bit off, and a feature next to a tree's split then falls on its
# other side: seen once in 400,000 predictions.
MAY_BE_OFF = 1e-4


@dataclass(frozen=True)
class Expected:
    """All readings of the input topic, in the order they were read.

    Attributes:
        features: of each reading, shape [n, f].
        names: of the features.
        probability: of each reading, shape [n].
        place: where in the module's series each reading stands, from 0, shape [n].
        module: number of each reading's module, shape [n].
        row: of a module's reading at a time.
    """

    features: Float
    names: list[str]
    probability: Float
    place: Any
    module: Any
    row: dict[tuple[str, int], int]

    def faults(self, predictions: list[tuple[int, float]]) -> list[str]:
        """What is wrong with predictions, given as row and probability: nothing if they are ours, once each.

        One in `1 / MAY_BE_OFF` may be off by more than `TOLERANCE`; `off` counts them.
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
        """How many probabilities are not ours to `TOLERANCE`."""
        rows, probability = map(np.array, zip(*predictions, strict=True))
        return int((~(np.abs(probability - self.probability[rows]) <= TOLERANCE)).sum())

    def gaps(self, predictions: list[tuple[int, float]]) -> list[str]:
        """Whether readings were passed over: whoever is stopped on the way has scored each module's first ones."""
        rows = np.unique([row for row, _ in predictions])
        reached = np.full(self.module.max() + 1, -1)
        np.maximum.at(reached, self.module[rows], self.place[rows])
        gaps = int((reached + 1).sum()) - len(rows)
        return [f"{gaps} readings were passed over"] if gaps else []

    def of_avro(self, messages: list[Message], pipeline: Pipeline) -> list[tuple[int, float]]:
        """Row and probability of a pipeline's predictions in Avro."""
        writer_schema_of = writer_schema_lookup(None, pipeline.known_schemas)
        reader = pipeline.records["predictions"].schema
        records = [decode(message.value(), writer_schema_of, reader) for message in messages]
        return [(self.row[r["module_id"], r["ts"]], r["hazard_probability"]) for r in records]


def expected(pipeline: Pipeline, package: ModelPackage, bootstrap: str) -> Expected:
    """Score all that is on the input topic."""
    source, spec = pipeline.input, package.spec
    writer_schema_of, reader = writer_schema_lookup(None, pipeline.known_schemas), source.avro_schema
    records = [decode(m.value(), writer_schema_of, reader) for m in read_all(source.topic, bootstrap)]
    # By time: the partitions came as they came, and the kernel's clock moves on with what it sees.
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
    """Row (the request's id) and probability of MLServer's answers."""
    answers = [json.loads(message.value()) for message in messages]
    return [(int(answer["id"]), answer["outputs"][0]["data"][0]) for answer in answers]
