"""Values of rows in the form that a database takes."""

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sink.columns import Kind

NUL_SHOWN = "\u2400"
"""Stands for the character NUL, which PostgreSQL refuses: ␀."""
Convert = Callable[[Any], Any]


def _text(value: str) -> str:
    return value.replace("\0", NUL_SHOWN) if "\0" in value else value


def _json(value: str) -> str:
    # PostgreSQL refuses NUL and halves of surrogate pairs here too; both are escaped.
    if "\\u0000" not in value and "\\ud" not in value:
        return value
    return json.dumps(_clean(json.loads(value)))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return {_clean(name): _clean(item) for name, item in value.items()} if isinstance(value, dict) else value


def iso_text(time: datetime) -> str:
    """A time as SQLite keeps it: always as long, so that the texts sort as the times."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}{'Z' if time.tzinfo else ''}"


def decimal_text(value: Decimal) -> str:
    """All digits, without an exponent."""
    return f"{value:f}"


def _day(value: date) -> str:
    return value.isoformat()


_BOTH: Mapping[Kind, Convert] = {"text": _text, "json": _json}
CONVERSIONS: Mapping[str, Mapping[Kind, Convert]] = {
    "postgresql": _BOTH,
    "sqlite": {**_BOTH, "timestamp": iso_text, "local_timestamp": iso_text, "date": _day, "decimal": decimal_text},
}
"""By dialect and kind. Kinds that are not there need no conversion."""
