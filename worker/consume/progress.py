"""Finds partitions that have input but commit nothing."""

import time
from collections.abc import Iterable, Mapping

from worker.consume.assigned_partition import AssignedPartition, Standstill
from worker.windows.partition import Partition

STALLED_AFTER_S = 30.0


def stalled(
    ready: Iterable[tuple[AssignedPartition, Partition]], lag: Mapping[int, int], failure: str
) -> dict[int, str]:
    """By partition, why it has long had input and committed nothing. Also notes when each last made progress.

    Args:
        ready: the partitions that are ready. One that is held starts over when it is released.
        lag: messages that wait in each.
        failure: why the last batch was not committed; empty: it was.
    """
    now = time.monotonic()
    why = failure or "none of them can be read: did a producer leave a transaction open on the topic?"
    found = {}
    for each, partition in ready:
        if each.hold:
            each.standstill = None
            continue
        before, waiting = each.standstill, lag.get(each.number, 0)
        if before is None or not waiting or before.offset != partition.next_offset:
            each.standstill = Standstill(partition.next_offset, now)
        elif (seconds := now - before.since) > STALLED_AFTER_S:
            found[each.number] = f"{waiting} messages wait, and nothing was committed for {seconds:.0f} s: {why}"
    return found
