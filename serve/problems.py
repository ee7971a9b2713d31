"""Errors of the API: one JSON form for all of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from common.environment import closest
from common.times import iso_now
from common.validation_errors import Fault, faults
from serve.json_response import json_response

_DETAILS = 20
_ALIKE = 0.6
_DOCUMENTED: Mapping[int, str] = {
    400: "The body is not JSON, or an object in it has a key twice.",
    401: "The API key is missing or wrong.",
    404: "There is no such path.",
    405: "The path has no such method.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "The request does not fit the schema, or rows cannot be scored. `details` lists the faults.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "A defect of the server. Its log has the cause, with the request id.",
    503: "No model is loaded, or too many requests are waiting.",
}


class Detail(BaseModel):
    """One fault: where in the request, and what is wrong."""

    at: str
    message: str
    reason: str | None = None


class Problem(BaseModel):
    """The body of every error.

    Attributes:
        error: code for programs.
        message: for people.
        request_id: also in the header `X-Request-Id` and in the log.
    """

    error: str
    message: str
    request_id: str
    timestamp: str
    details: list[Detail] = []


class ProblemError(Exception):
    """A request that gets an error as its answer."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        details: Sequence[Detail] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.error, self.message, self.details = status, error, message, tuple(details)
        self.headers = {} if retry_after_s is None else {"retry-after": str(math.ceil(retry_after_s))}
        if status == 401:
            self.headers["www-authenticate"] = "Bearer"

    def response(self, request_id: str) -> Response:
        """The answer."""
        problem = Problem(
            error=self.error,
            message=self.message,
            request_id=request_id,
            timestamp=iso_now(),
            details=list(self.details[:_DETAILS]),
        )
        return json_response(problem.model_dump(), self.status, self.headers)


def unfit(error: ValidationError, known: Mapping[str, Sequence[str]]) -> ProblemError:
    """The answer to a body that does not fit its schema.

    Args:
        error: as Pydantic raised it.
        known: fields of the request (under an empty name), of readings and of rows.
    """
    found = [_with_hint(fault, known) for fault in faults(error)]
    details = [Detail(at=".".join(map(str, fault.at)), message=fault.text) for fault in found]
    return ProblemError(422, "invalid_request", f"the request does not fit the schema: {found[0]}", details)


def _with_hint(fault: Fault, known: Mapping[str, Sequence[str]]) -> Fault:
    within = str(fault.at[0]) if len(fault.at) > 1 else ""
    if fault.kind != "extra_forbidden" or not (hint := closest(str(fault.at[-1]), known.get(within, ()), _ALIKE)):
        return fault
    return fault._replace(text=f"there is no such field; did you mean {hint!r}?")


def defect(request_id: str) -> Response:
    """The answer where nothing else can be said."""
    return ProblemError(500, "internal_error", "this is a defect of the server; its log has the request id").response(
        request_id
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route in the OpenAPI description."""
    return {status: {"model": Problem, "description": _DOCUMENTED[status]} for status in statuses}
