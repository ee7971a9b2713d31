"""Times as text: ISO 8601 in UTC, with a Z."""

from datetime import UTC, datetime


def iso_time(ms: float, precision: str = "milliseconds") -> str:
    """A time as text.

    Args:
        ms: since the epoch. Text of another program may hold any number: out of the calendar's range it stays one.
        precision: `minutes`, `seconds` or `milliseconds`.
    """
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
    return _text(moment, precision)


def iso_now() -> str:
    """The current time, to the second."""
    return _text(datetime.now(UTC), "seconds")


def _text(moment: datetime, precision: str) -> str:
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
