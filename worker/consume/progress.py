"""Finds partitions that have input but commit nothing."""

import time
from collections.abc import Iterable, Mapping

from worker.consume.assigned_partition import AssignedPartition, Standstill
from worker.windows.partition import Partition

STALLED_AFTER_S = 30.0


class Progress:
    """Notes since when each partition has made no progress, and why."""

    def __init__(self) -> None:
        self._reason = ""

    def failed(self, reason: str) -> None:
        """Say why the last batch was not committed; empty: it was."""
        self._reason = reason

    def stalled(self, ready: Iterable[tuple[AssignedPartition, Partition]], lag: Mapping[int, int]) -> dict[int, str]:
        """By partition, why it has had input for long and committed nothing.

        Args:
            ready: the partitions that are ready. One that is held starts over when it is released.
            lag: messages that wait in each.
        """
        now = time.monotonic()
        why = self._reason or "none of them can be read: is a producer's transaction left open on the topic?"
        stalled = {}
        for each, partition in ready:
            if each.hold:
                each.standstill = None
                continue
            before, waiting = each.standstill, lag.get(each.number, 0)
            if before is None or not waiting or before.offset != partition.next_offset:
                each.standstill = Standstill(partition.next_offset, now)
            elif (seconds := now - before.since) > STALLED_AFTER_S:
                stalled[each.number] = f"{waiting} messages wait, and nothing was committed for {seconds:.0f} s: {why}"
        return stalled
