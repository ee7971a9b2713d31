"""JSON text of results, whose numbers may be NaN or infinite: JSON has no such numbers."""

import json
from typing import Any


def strict_json(value: Any) -> str:
    """One line of JSON in which NaN and infinities are null.

    Args:
        value: what `json.dumps` takes.
    """
    return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None), allow_nan=False)
