"""Which event times can be meant: in milliseconds since 1970, and of this century."""

import numpy as np

from common.arrays import Bool, Int

EARLIEST_MS = 946_684_800_000
"""2000-01-01. In milliseconds since 1970, and read as such, seconds of today lie in January 1970."""
LATEST_MS = 4_102_444_800_000
"""2100-01-01."""
_LARGEST = 2**53  # beyond it, sums of times could overflow
_UNITS = {"seconds": 1000, "microseconds": 1 / 1000, "nanoseconds": 1 / 1_000_000}


def other_unit(ts: Int) -> Bool:
    """Which times are microseconds or nanoseconds of this century, shape [n]: implausible as milliseconds."""
    return _within(ts, 1000) | _within(ts, 1_000_000)


def implausible(ts: Int, stamped: Int) -> Bool:
    """Which times cannot be meant, shape [n].

    Args:
        ts: event times, ms, any integers.
        stamped: Kafka timestamps, ms; negative where there is none. Where they lie before this century, too (a
            recording that counts from its own start), times of any century pass.
    """
    return other_unit(ts) | (ts > _LARGEST) | (ts < -_LARGEST) | ((stamped >= EARLIEST_MS) & (ts < EARLIEST_MS))


def implausible_text(ts: int) -> str:
    """What is wrong with a time that cannot be meant."""
    unit = next((u for u, ms in _UNITS.items() if EARLIEST_MS <= ts * ms < LATEST_MS), None)
    if unit is not None:
        return f"looks like {unit} since 1970; milliseconds are expected"
    return "lies before 2000-01-01" if ts < EARLIEST_MS else "is beyond any date"


def _within(ts: Int, factor: int) -> Bool:
    return np.asarray((ts >= EARLIEST_MS * factor) & (ts < LATEST_MS * factor))
