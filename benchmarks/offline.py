"""A worker's stages in this process: real messages, but no Kafka."""

import numpy as np
from confluent_kafka import Message

from benchmarks.harness import PARTITIONS
from benchmarks.readings import Numbers, Readings
from schemas.registry import writer_schema_lookup
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage
from worker.score.scorer import Scorer, Timer, scorer_of, untimed
from worker.windows.partition import Partition


def offline_scorer(
    pipeline: Pipeline, package: ModelPackage, timed: Timer = untimed
) -> tuple[Scorer, dict[int, Partition]]:
    """A scorer and its partitions, all of them new."""
    scorer = scorer_of(pipeline, package, package.policy, writer_schema_lookup(None, pipeline.known_schemas), timed)
    for number in range(PARTITIONS):
        scorer.alarms.assign(number, {})
    return scorer, {number: Partition(number, 0, 0) for number in range(PARTITIONS)}


def messages(readings: Readings, numbers: Numbers, topic: str) -> list[Message]:
    """Readings as messages of a consumer, with their event time as broker timestamp.

    Args:
        readings: a number of modules that the partitions share evenly.
        numbers: of the readings.
        topic: that they come from.
    """
    step, module = np.divmod(numbers, readings.modules)
    partition = module % PARTITIONS
    offset = step * (readings.modules // PARTITIONS) + module // PARTITIONS
    columns = *readings.encode(numbers), partition.tolist(), offset.tolist(), readings.ts(numbers).tolist()
    return [
        Message(topic=topic, key=key, value=value, partition=number, offset=at, timestamp=(1, ts))
        for key, value, number, at, ts in zip(*columns, strict=True)
    ]
