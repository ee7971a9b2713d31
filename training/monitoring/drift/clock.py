"""Detects times in the future."""

import time

_LEEWAY_MS = 60_000
"""Clocks differ: a time this far ahead of ours still counts as now."""


def lies_ahead(ts: int) -> bool:
    """Whether a time (ms since 1970) is later than now."""
    return ts > time.time_ns() // 1_000_000 + _LEEWAY_MS
