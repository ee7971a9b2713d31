"""What cannot have happened yet."""

import time

_LEEWAY_MS = 60_000
"""Clocks differ: so far ahead of this one still counts as now."""


def lies_ahead(ts: int) -> bool:
    """Whether a time (ms since 1970) is later than now."""
    return ts > time.time_ns() // 1_000_000 + _LEEWAY_MS
