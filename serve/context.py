"""What surrounds every request: its id, its trace, metrics, the request log, and an answer whatever goes wrong."""

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.metrics import ServeMetrics
from serve.problems import ProblemError, defect
from serve.request_log import RequestLog

_LOG = structlog.get_logger(__name__)
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header; version ff and zeros are invalid.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_NOT_LOGGED = {"/live", "/ready", "/metrics", "/docs", "/openapi.json"}


def request_id_of(scope: Scope) -> str:
    """The id that a request has in its response, the log and the request log."""
    return str(scope["state"]["request_id"])


class Context:
    """Outermost layer of the application."""

    def __init__(self, app: ASGIApp, pipeline: str, metrics: ServeMetrics, log: RequestLog) -> None:
        self._app, self._pipeline, self._metrics, self._log = app, pipeline, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, started = Headers(scope=scope), time.perf_counter()
        given, received = headers.get("x-request-id", ""), datetime.now(UTC)
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(16)
        trace = _TRACE.fullmatch(headers.get("traceparent", ""))
        state: dict[str, Any] = scope.setdefault("state", {})
        state |= {"request_id": request_id, "logged": {}}
        status = 0

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = MutableHeaders(scope=message)
                sent["x-request-id"] = request_id
                if trace:
                    sent["traceparent"] = f"00-{trace[1]}-{secrets.token_hex(8)}-{trace[2]}"
            await send(message)

        with structlog.contextvars.bound_contextvars(
            request_id=request_id, **({"trace_id": trace[1]} if trace else {})
        ):
            # RFC 9112, section 6.1: a proxy in front may take the other length, and so see other requests than we do.
            unclear = "content-length" in headers and "transfer-encoding" in headers
            try:
                await (_unclear_length(request_id) if unclear else self._app)(scope, receive, send_with_ids)
            except Exception:  # noqa: BLE001 - the server goes on; the log has the cause
                _LOG.exception("a request failed", path=scope["path"][:200])
                if not status:
                    await defect(request_id)(scope, receive, send_with_ids)
        self._note(scope, status, received, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, received: datetime, seconds: float) -> None:
        # The paths of unknown requests are anybody's choice, and each would be a time series.
        route = scope.get("route")
        path = getattr(route, "path", None) or "other"
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if path in _NOT_LOGGED or path == "other":
            return
        self._log.add(
            {
                "request_id": request_id_of(scope),
                "received_at": received.isoformat(timespec="milliseconds"),
                "path": path,
                "pipeline": self._pipeline,
                "status": status,
                "duration_ms": round(seconds * 1000, 3),
                **scope["state"]["logged"],
            }
        )


def _unclear_length(request_id: str) -> ASGIApp:
    text = "give either Content-Length or Transfer-Encoding"
    answer = ProblemError(400, "malformed_request", text).response(request_id)
    answer.headers["connection"] = "close"
    return answer
