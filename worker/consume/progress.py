"""Which partitions have input and do not get on."""

import time
from collections.abc import Mapping

from worker.windows.partition import Partition

STALLED_AFTER_S = 30.0


class Progress:
    """Remembers since when each partition has stood where it stands."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}
        self._reason = ""

    def failed(self, reason: str) -> None:
        """Say why the last batch was not committed; empty: it was."""
        self._reason = reason

    def stalled(self, partitions: Mapping[int, Partition], lag: Mapping[int, int]) -> dict[int, str]:
        """By number, in words, the partitions that have had input for long and committed nothing.

        Args:
            partitions: those that are ready.
            lag: messages that wait in each.
        """
        now = time.monotonic()
        since = {}
        for number, partition in partitions.items():
            place, start = self._since.get(number, (partition.next_offset, now))
            waits = lag.get(number, 0) > 0 and place == partition.next_offset
            since[number] = (partition.next_offset, start if waits else now)
        self._since = since
        why = self._reason or "none of them can be read: is a producer's transaction left open on the topic?"
        return {
            number: f"{lag[number]} messages wait, and nothing was committed for {now - start:.0f} s: {why}"
            for number, (_, start) in since.items()
            if now - start > STALLED_AFTER_S
        }
