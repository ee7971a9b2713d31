"""Values that JSON does not know, in a form that it does."""

import math
from typing import Any

from common.text import text_or_hex


def json_value(value: Any) -> Any:
    """A value as JSON takes it: NaN and infinity become text, bytes become text or hex digits, at any depth."""
    if isinstance(value, dict):
        return {name: json_value(part) for name, part in value.items()}
    if isinstance(value, list):
        return [json_value(part) for part in value]
    if isinstance(value, bytes):
        return text_or_hex(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
