"""Checks that an output holds every reading exactly once, by the first bytes of each record, which is fast."""

from collections.abc import Iterator

import numpy as np

from benchmarks.readings import HEAD_BYTES, Numbers, Readings
from local.audit import read
from worker.config.pipeline import Pipeline

_AT_A_TIME = 100_000


def output_faults(readings: Readings, count: int, pipeline: Pipeline, bootstrap: str) -> list[str]:
    """Faults of a worker's committed output, as text; empty if it is correct.

    Args:
        readings: that were published.
        count: how many were published, from number 0.
        pipeline: names the topics.
        bootstrap: broker addresses.
    """
    dead = sum(1 for _ in read(pipeline.outputs.dead_letters.topic, bootstrap))
    texts = [f"{dead} readings became dead letters"] if dead else []
    return texts + faults(committed(readings, pipeline.outputs.predictions.topic, bootstrap), count)


def committed(readings: Readings, topic: str, bootstrap: str, *, shorter: int = 0) -> Numbers:
    """Numbers of the readings, or their predictions, that a topic holds.

    Args:
        readings: that were published.
        topic: holds them.
        bootstrap: broker addresses.
        shorter: how many bytes shorter the prefix of the wire format is than that of single-object encoding.
    """
    return np.concatenate([np.empty(0, np.int64), *_numbers(readings, topic, bootstrap, bytes(shorter))])


def _numbers(readings: Readings, topic: str, bootstrap: str, padding: bytes) -> Iterator[Numbers]:
    heads: list[bytes] = []
    for message in read(topic, bootstrap):
        heads.append((padding + message.value()[:HEAD_BYTES])[:HEAD_BYTES])
        if len(heads) == _AT_A_TIME:
            yield readings.numbers(b"".join(heads))
            heads.clear()
    yield readings.numbers(b"".join(heads))


def faults(found: Numbers, count: int) -> list[str]:
    """Faults of numbers that should be 0 to `count - 1`, once each."""
    known = found[(found >= 0) & (found < count)]
    times = np.bincount(known, minlength=count)
    wrong = {
        "are about readings that were never sent": len(found) - len(known),
        "are about readings that already had one": int((times - 1).clip(0).sum()),
    }
    texts = [f"{n} of {len(found)} records {what}" for what, n in wrong.items() if n]
    return texts + ([f"{missing} of {count} readings have none"] if (missing := int((times == 0).sum())) else [])
