"""JSON that commands print can be read by every parser."""

import json

from common.json_text import strict_json


def test_what_json_lacks_is_null_or_text_at_any_depth() -> None:
    record = {"value": float("nan"), "limits": [float("-inf"), 1.5], "raw": {"text": b"pump", "code": b"\xff\x00"}}
    assert json.loads(strict_json(record)) == {
        "value": None,
        "limits": [None, 1.5],
        "raw": {"text": "pump", "code": "0xff00"},
    }
    assert "NaN" not in strict_json(record)
