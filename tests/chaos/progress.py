"""How far the workers have come, as the committed offsets say, and how long faults held them up."""

import threading
import time
from typing import TypeAlias

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from numpy.typing import NDArray

from tests.chaos.faults import Done
from tests.harness import Stage

Sample: TypeAlias = tuple[float, NDArray[np.int64], NDArray[np.int64]]
"""Monotonic time; by partition, the input's end and what is committed."""
_EVERY_S = 0.25
_TIMEOUT_S = 3.0


class Progress:
    """Samples, a few times a second, the end of the input and what of it is committed."""

    def __init__(self, stage: Stage) -> None:
        self._places = [TopicPartition(stage.pipeline.input.topic, n) for n in range(stage.partitions)]
        self._consumer = Consumer(
            {
                "bootstrap.servers": stage.bootstrap,
                "group.id": f"hazardstream-{stage.pipeline.name}",
                # As committed by now; a transaction in flight is not waited for.
                "isolation.level": "read_uncommitted",
                "log_level": 0,
            }
        )
        self._samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                ends = [self._consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S)[1] for p in self._places]
                committed = [p.offset for p in self._consumer.committed(self._places, timeout=_TIMEOUT_S)]
            except KafkaException:
                continue  # a broker is away
            self._samples.append((time.monotonic(), np.array(ends), np.array(committed).clip(0)))

    def behind(self) -> int:
        """Messages that are not committed yet, as of the latest look; all there could be before the first."""
        if not self._samples:
            return np.iinfo(np.int64).max
        _, ends, committed = self._samples[-1]
        return int((ends - committed).sum())

    def await_end(self, timeout_s: float) -> bool:
        """Wait until all of the input is committed; whether it came to that."""
        asked = time.monotonic()
        while time.monotonic() < asked + timeout_s:
            # Two looks later: one that began before we were asked may not have seen the end.
            if len([1 for at, _, _ in self._samples[-2:] if at > asked]) == 2 and self.behind() == 0:
                return True
            time.sleep(_EVERY_S)
        return False

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def standstill_s(self, fault: Done) -> float:
        """The longest time in which a partition was not scored, of those that a fault had a part in, seconds."""
        times = np.array([at for at, _, _ in self._samples])
        committed = np.array([offsets for _, _, offsets in self._samples])
        longest_s = 0.0
        for moves in np.diff(committed, axis=0).T > 0:
            moved = np.concatenate([times[:1], times[1:][moves]])
            during = (moved[:-1] < fault.ended) & (moved[1:] > fault.began)
            longest_s = max(longest_s, float(np.diff(moved)[during].max(initial=0.0)))
        return longest_s
