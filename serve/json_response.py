"""JSON responses that are fast for many rows and never hold NaN."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response


def json_bytes(value: Any) -> bytes:
    """JSON as in RFC 8259; NaN and infinities are null."""
    return to_json(value, inf_nan_mode="null")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response with a JSON body."""
    return Response(json_bytes(value), status, headers, media_type="application/json")
