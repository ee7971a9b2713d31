"""JSON of results and records, which may hold values that JSON lacks: NaN, infinities and bytes."""

import json
from typing import Any

from common.text import text_or_hex


def strict_json(value: Any) -> str:
    """One line of JSON as in RFC 8259. NaN and infinities are null, so that a column keeps one type for every parser.

    Args:
        value: anything that `json.dumps` takes, or bytes, which become text or hex digits.
    """
    text = json.dumps(value, default=_bytes_as_text)
    return json.dumps(json.loads(text, parse_constant=lambda _: None), allow_nan=False)


def _bytes_as_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return text_or_hex(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
