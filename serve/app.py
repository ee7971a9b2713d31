"""The HTTP API: routes, layers around them, and their OpenAPI description."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.clients import Clients
from serve.context import Context, request_id_of
from serve.description import describe
from serve.json_response import json_response
from serve.live_model import LiveModel
from serve.metrics import ServeMetrics
from serve.problems import ProblemError, documented
from serve.request_log import RequestLog
from serve.scoring import Answer, RequestScorer
from serve.settings import ServeSettings
from worker.config.pipeline import Pipeline
from worker.http.docs_page import add_docs
from worker.http.guard import WRONG_HOST, Guard

_WAITING = 64
_CODES = {404: "not_found", 405: "method_not_allowed"}
_JSON = ("application/json", "application/vnd.api+json")


class Live(BaseModel):
    """The process answers."""

    live: bool = True


class Ready(BaseModel):
    """Whether requests are scored, and why not."""

    ready: bool
    reasons: list[str]


class Service:
    """What the routes need: the model, and the one thread that scores.

    One thread, because a request takes about a millisecond, and models compute best without neighbours. Run more
    processes for more cores.
    """

    def __init__(self, settings: ServeSettings, pipeline: Pipeline, live: LiveModel, metrics: ServeMetrics) -> None:
        self.settings, self.pipeline, self.live, self.metrics = settings, pipeline, live, metrics
        self._thread = ThreadPoolExecutor(1, "score")
        self._waiting = 0

    def scorer(self) -> RequestScorer:
        """The current one.

        Raises:
            ProblemError: 503, no model is loaded.
        """
        if self.live.scorer is None:
            raise ProblemError(503, "not_ready", f"no model is loaded: {self.live.reason}", retry_after_s=5)
        return self.live.scorer

    async def body(self, request: Request) -> bytes:
        """The body of a request.

        Raises:
            ProblemError: 413 or 415.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in _JSON:
            raise ProblemError(415, "not_json", "send JSON, with the header Content-Type: application/json")
        limit, parts, size = self.settings.serve_max_bytes, list[bytes](), 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise ProblemError(413, "too_large", f"the body is larger than {limit} bytes; send fewer rows at once")
            parts.append(part)
        return b"".join(parts)

    async def score(self, request: Request, work: Callable[[RequestScorer, int], tuple[Answer, Any]]) -> Response:
        """Score on the scoring thread.

        Args:
            request: that is answered.
            work: given the scorer and the time, ms: the answer, and the body of the response.

        Raises:
            ProblemError: 422, or 503 while too many requests wait.
        """
        scorer = self.scorer()
        if self._waiting >= _WAITING:
            raise ProblemError(503, "busy", "too many requests are waiting", retry_after_s=1)
        self._waiting += 1
        self.metrics.waiting.set(self._waiting)
        request.state.logged |= {"model_name": scorer.model.name, "model_version": scorer.model.version}
        try:
            now_ms = time.time_ns() // 1_000_000
            answer, body = await asyncio.get_running_loop().run_in_executor(self._thread, work, scorer, now_ms)
        finally:
            self._waiting -= 1
            self.metrics.waiting.set(self._waiting)
        request.state.logged["rows"] = answer.rows
        self.metrics.rows.inc(answer.rows)
        return json_response(body | {"request_id": request_id_of(request.scope)})


def build_app(
    settings: ServeSettings, pipeline: Pipeline, live: LiveModel, metrics: ServeMetrics, log: RequestLog
) -> ASGIApp:
    """The application with all its layers.

    Raises:
        UserError: the API keys cannot be read.
    """
    keys = settings.api_keys()
    service = Service(settings, pipeline, live, metrics)
    app = FastAPI(title=f"hazardstream: {pipeline.name}", docs_url=None, redoc_url=None)
    add_docs(app)
    _add_health(app, live, metrics)
    app.include_router(_protected(service, Clients(keys, settings.rate_limit)))
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    describe(app, service.pipeline, live)
    inner: ASGIApp = app
    if settings.cors_origins:
        inner = CORSMiddleware(
            inner,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "traceparent", "x-api-key", "x-request-id"],
            expose_headers=["retry-after", "x-request-id"],
        )
    # A page cannot know an API key, so with keys any host name will do.
    hosts = ["*"] if keys else settings.http_allowed_hosts.split(",")
    return Context(Guard(inner, settings.serve_host, hosts, _refuse_host), pipeline.name, metrics, log)


def _protected(service: Service, clients: Clients) -> APIRouter:
    from serve.compatibility import add_older_shapes  # noqa: PLC0415 - it needs `Service`

    router = APIRouter(
        dependencies=[
            Depends(clients.admit),
            # These only describe; `clients` checks.
            Depends(APIKeyHeader(name="X-API-Key", auto_error=False)),
            Depends(HTTPBearer(auto_error=False)),
        ],
        responses=documented(401, 429),
    )
    _add_v1(router, service)
    add_older_shapes(router, service)
    return router


def _add_v1(router: APIRouter, service: Service) -> None:
    @router.post("/v1/predict", responses=documented(400, 413, 415, 422, 503))
    async def predict(request: Request) -> Response:
        """Score readings with their history, or rows of finished features."""
        body = await service.body(request)

        def work(scorer: RequestScorer, now_ms: int) -> tuple[Answer, dict[str, Any]]:
            answer = scorer.score(scorer.read(body), now_ms)
            return answer, {"model": scorer.shown, "predictions": answer.predictions}

        return await service.score(request, work)

    @router.get("/v1/model", responses=documented(503))
    async def model() -> Response:
        """The model in use, and how its alias is watched."""
        return json_response(service.scorer().details() | {"uri": service.live.uri, "watch": service.live.watch})

    @router.get("/v1/schema", responses=documented(503))
    async def schema() -> Response:
        """JSON Schemas of a request, and the Avro schema of the pipeline's readings."""
        source, form = service.pipeline.input, service.scorer().form
        return json_response({"request": form.json_schema(), "avro": source.avro_schema})


def _add_health(app: FastAPI, live: LiveModel, metrics: ServeMetrics) -> None:
    @app.get("/live", summary="Liveness")
    async def live_() -> Live:
        """Whether the process answers."""
        return Live()

    @app.get("/ready", responses={503: {"model": Ready, "description": "No model is loaded yet."}})
    async def ready(response: Response) -> Ready:
        """Whether requests are scored; 503 with the reason when not."""
        reasons = [] if live.scorer is not None else [live.reason]
        response.status_code = 503 if reasons else 200
        return Ready(ready=not reasons, reasons=reasons)

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics_() -> Response:
        """Metrics in Prometheus text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _answer_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    request.state.logged["error"] = error.error
    return error.response(request_id_of(request.scope))


async def _answer_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    problem = ProblemError(error.status_code, _CODES.get(error.status_code, "http_error"), str(error.detail))
    problem.headers |= error.headers or {}
    return problem.response(request_id_of(request.scope))


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    answer = ProblemError(421, "wrong_host", WRONG_HOST).response(request_id_of(scope))
    await answer(scope, receive, send)
