"""Events that people confirmed or labelled, and which readings are normal operation."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Bool, Int
from common.times import DAY_MS

OUT_OF_SERVICE_MS = DAY_MS
"""A key is taken to be out of service for a day after a confirmed event."""


@dataclass(frozen=True)
class LabelledEvent:
    """An event that people confirmed or labelled.

    Attributes:
        key: number of the key.
        ts: the point of no return, ms. Alarms up to this time are in time.
        end_ts: end of the event, ms. Between `ts` and this time nothing counts as normal operation.
    """

    key: int
    ts: int
    end_ts: int


def by_key(events: Iterable[LabelledEvent]) -> dict[int, list[LabelledEvent]]:
    """Events by key, in the given order."""
    found: dict[int, list[LabelledEvent]] = defaultdict(list)
    for event in events:
        found[event.key].append(event)
    return found


def normal_operation(ts: Int, events: Sequence[LabelledEvent], horizon_ms: int) -> Bool:
    """Which readings of a key are normal operation: outside the horizon before each event, and outside the event.

    Args:
        ts: times of the readings, ms, shape [n].
        events: events of this key.
        horizon_ms: how long before an event an alarm counts as its warning.
    """
    normal = np.ones(len(ts), np.bool_)
    for event in events:
        normal &= (ts < event.ts - horizon_ms) | (ts >= event.end_ts)
    return normal
