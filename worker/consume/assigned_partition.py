"""Everything that the loop knows of one assigned partition, from its assignment to its revoke."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from worker.recover.start_offsets import Start
from worker.windows.partition import Partition

_LOG = structlog.get_logger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Hold(NamedTuple):
    """A ready partition that takes no messages for now.

    Attributes:
        until: on the monotonic clock, s.
        reason: shown to the user.
    """

    until: float
    reason: str


class UnreadableBatch(NamedTuple):
    """A batch that the client could not read: its offset, and what to do about it."""

    offset: int
    reason: str


class Standstill(NamedTuple):
    """Since when (on the monotonic clock, s) a partition has been at an offset."""

    offset: int
    since: float


@dataclass
class AssignedPartition:
    """One assigned partition. It is dropped as a whole, so nothing is left of a partition that was revoked.

    All times are on the monotonic clock, in seconds.

    Attributes:
        number: of the partition.
        since: when it was assigned.
        start: where it starts; None until that was looked up.
        partition: its offsets and windows; None while it waits for its start offsets or alarm states.
        rebuilt: whether its windows are rebuilt from the log, so that it publishes results.
        retry_at: while it waits: when to try again.
        pause_s: while it waits: how long to pause after the next failure.
        reason: while it waits: why.
        hold: set while it takes no messages.
        idle_offset: where the consumer was at the last check, if no message was left before it.
        unreadable: the batch that it cannot get past.
        standstill: since when it has made no progress.
    """

    number: int
    since: float = field(default_factory=time.monotonic)
    start: Start | None = None
    partition: Partition | None = None
    rebuilt: bool = False
    retry_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    reason: str = "it is being taken over"
    hold: Hold | None = None
    idle_offset: int | None = None
    unreadable: UnreadableBatch | None = None
    standstill: Standstill | None = None

    def put_off(self, reason: str) -> None:
        """Wait before the next try, longer each time."""
        if reason != self.reason:
            _LOG.warning("partition has to wait", partition=self.number, reason=reason)
        self.retry_at, self.reason = time.monotonic() + self.pause_s, reason
        self.pause_s = min(2 * self.pause_s, _LONGEST_PAUSE_S)

    def restored(self) -> float | None:
        """Note that the windows are rebuilt, once they are.

        Returns:
            Seconds since the assignment if that happened just now, else None.
        """
        if self.rebuilt or self.partition is None or self.partition.next_offset < self.partition.live_from:
            return None
        self.rebuilt = True
        return time.monotonic() - self.since
