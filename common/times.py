"""Times in milliseconds since the Unix epoch: spans, and their text in ISO 8601."""

from datetime import UTC, datetime
from typing import Literal

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def iso_utc(ts_ms: float, precision: Literal["minutes", "seconds", "milliseconds"] = "seconds") -> str:
    """A time in UTC as in the logs and in RFC 3339: `2026-01-31T12:00:00Z`.

    Args:
        ts_ms: since the Unix epoch. A time outside the calendar stays a number: `9223372036854775807 ms`.
        precision: of the text; smaller units are cut off.
    """
    try:
        return _text(datetime.fromtimestamp(ts_ms / 1000, UTC), precision)
    except (ValueError, OverflowError, OSError):
        return f"{ts_ms} ms"


def iso_now() -> str:
    """The current time in UTC, in seconds, in the form of `iso_utc`."""
    return _text(datetime.now(UTC), "seconds")


def _text(time: datetime, precision: str) -> str:
    return f"{time.replace(tzinfo=None).isoformat(timespec=precision)}Z"
