"""Times in milliseconds since the Unix epoch: spans, and their text in ISO 8601."""

from datetime import UTC, datetime
from typing import Literal

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def iso_utc(ts_ms: float, precision: Literal["minutes", "seconds", "milliseconds"] = "seconds") -> str:
    """A time as ISO 8601 in UTC, with its offset: `2026-01-31T12:00:00+00:00`.

    Args:
        ts_ms: since the Unix epoch. A time outside of the calendar stays a number: `9223372036854775807 ms`.
        precision: of the text; smaller units are cut off.
    """
    try:
        return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(timespec=precision)
    except (ValueError, OverflowError, OSError):
        return f"{ts_ms} ms"


def iso_now() -> str:
    """The current time as ISO 8601 in UTC, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
