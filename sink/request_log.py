"""The record of one request to `hazardstream serve`, as JSON on a topic of its own: who writes it and who reads it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from confluent_kafka import Message
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common.validation_errors import fault_texts
from schemas.errors import InvalidValueError, MalformedError, NullValueError
from sink.columns import Kind
from sink.values import json_text
from worker.kafka.message import value_of

REQUESTS = "requests"
"""Name of the table."""
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class RequestRecord(BaseModel):
    """One request. To write it: `record.model_dump_json()`, with the request id as the message's key.

    Attributes:
        received_at: when the request arrived.
        path: of the URL, without the query.
        pipeline: that scored it.
        rows: that were to be scored.
        status: of the response.
        duration_ms: until the response was complete.
        error: code of the error; None for a request that succeeded.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    request_id: str
    received_at: AwareDatetime
    path: str
    pipeline: str
    model_name: str | None = None
    model_version: str | None = None
    rows: _Count = 0
    status: _Count
    duration_ms: float
    error: str | None = None


REQUEST_FIELDS: Mapping[str, Kind] = {
    "request_id": "text",
    "received_at": "timestamp",
    "path": "text",
    "pipeline": "text",
    "model_name": "text",
    "model_version": "text",
    "rows": "integer",
    "status": "integer",
    "duration_ms": "double",
    "error": "text",
    "further": "json",
}
"""`further`: fields that a newer release writes."""


def request_values(message: Message) -> dict[str, Any]:
    """The row of a request.

    Raises:
        UnreadableValueError: the value is no such record.
    """
    value = value_of(message)
    if value is None:
        raise NullValueError("the record of a request has no value")
    try:
        record = RequestRecord.model_validate(json.loads(value))
        further = json_text(record.model_extra) if record.model_extra else None
    except ValidationError as error:
        raise InvalidValueError(fault_texts(error)) from error
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from error
    row = {name: getattr(record, name) for name in RequestRecord.model_fields}
    return row | {"received_at": _utc(record.received_at), "further": further}


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidValueError(f"received_at {time} is outside of the years 1 to 9999") from error
