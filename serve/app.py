"""The HTTP API: routes, layers around them, and their OpenAPI description."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.bodies import Bodies
from serve.clients import Clients
from serve.context import Context, request_id_of
from serve.description import describe
from serve.json_request import parsed
from serve.json_response import json_response
from serve.live_model import LiveModel
from serve.metrics import ServeMetrics
from serve.problems import ProblemError, defect, documented
from serve.request_log import RequestLog
from serve.scoring import RequestScorer
from serve.scoring_thread import ScoringThread
from serve.settings import ServeSettings
from serve.stored import stored
from worker.config.pipeline import Pipeline
from worker.http.docs_page import add_docs
from worker.http.guard import WRONG_HOST, Guard

_CLIENT_LEFT = 499
"""Before its request was complete. No standard status; nginx logs the same."""
_NO_PATH = HTTPStatus.NOT_FOUND.phrase  # what Starlette says
_CODES = {404: "not_found", 405: "method_not_allowed"}


class Live(BaseModel):
    """The process answers."""

    live: bool = True


class Ready(BaseModel):
    """Whether requests are scored, and why not."""

    ready: bool
    reasons: list[str]


class Scored(NamedTuple):
    """The predictions of a request, and what made them."""

    scorer: RequestScorer
    predictions: list[dict[str, Any]]


class Service:
    """What the routes need: the model, and the thread that scores."""

    def __init__(self, settings: ServeSettings, pipeline: Pipeline, live: LiveModel, metrics: ServeMetrics) -> None:
        self.settings, self.pipeline, self.live, self.metrics = settings, pipeline, live, metrics
        self._thread, self._bodies = ScoringThread(metrics), Bodies(settings.serve_max_bytes)

    def scorer(self) -> RequestScorer:
        """The current one.

        Raises:
            ProblemError: 503, no model is loaded.
        """
        if self.live.scorer is None:
            raise ProblemError(503, "not_ready", f"no model is loaded: {self.live.reason}", retry_after_s=5)
        return self.live.scorer

    def not_ready(self) -> list[str]:
        """Why requests are not scored; empty: they are."""
        reasons = [] if self.live.scorer is not None else [self.live.reason]
        return reasons if self._thread.alive else [*reasons, "the thread that scores has ended; restart the process"]

    async def score(self, request: Request, read: Callable[[RequestScorer, Any], Mapping[str, Any]]) -> Scored:
        """Score the body of a request.

        Args:
            request: that is answered.
            read: gives the request of `/v1/predict` that parsed JSON means.

        Raises:
            ProblemError: it cannot be scored.
        """
        async with self._bodies.held(request) as body:
            scorer = self.scorer()
            request.state.logged |= {"model_name": scorer.model.name, "model_version": scorer.model.version}
            answer = await self._thread.score(scorer, lambda scorer: read(scorer, parsed(body)), len(body))
        request.state.logged["rows"] = answer.rows
        self.metrics.rows.inc(answer.rows)
        return Scored(scorer, answer.predictions)


def build_app(
    settings: ServeSettings, pipeline: Pipeline, live: LiveModel, metrics: ServeMetrics, log: RequestLog
) -> ASGIApp:
    """The application with all its layers.

    Raises:
        UserError: the API keys cannot be read.
    """
    keys = settings.api_keys()
    service = Service(settings, pipeline, live, metrics)
    # A redirect of a path with a slash too many would repeat the Host header of the request.
    app = FastAPI(
        title=f"hazardstream: {pipeline.name}",
        version=version("hazardstream"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    add_docs(app)
    _add_health(app, service)
    protected = _protected(service, Clients(keys, settings.rate_limit))
    if routes := stored(settings, keys, pipeline.name):
        protected.include_router(routes)
    app.include_router(protected)
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_defect)  # which then goes on to `Context`, for the log
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
        responses=documented(401, 429, 500),
    )
    _add_v1(router, service)
    add_older_shapes(router, service)
    return router


def _add_v1(router: APIRouter, service: Service) -> None:
    @router.post("/v1/predict", responses=documented(400, 413, 415, 422, 503))
    async def predict(request: Request) -> Response:
        """Score readings with their history, or rows of finished features."""
        scored = await service.score(request, RequestScorer.read)
        body = {"model": scored.scorer.shown, "predictions": scored.predictions}
        return json_response(body | {"request_id": request_id_of(request.scope)})

    @router.get("/v1/model", responses=documented(503))
    async def model() -> Response:
        """The model in use, and how its alias is watched."""
        return json_response(service.scorer().details() | {"uri": service.live.uri, "watch": service.live.watch})

    @router.get("/v1/schema", responses=documented(503))
    async def schema() -> Response:
        """JSON Schemas of a request, and the Avro schema of the pipeline's readings."""
        source, form = service.pipeline.input, service.scorer().form
        return json_response({"request": form.json_schema(), "avro": source.avro_schema})


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/live", summary="Liveness")
    async def live_() -> Live:
        """Whether the process answers."""
        return Live()

    @app.get("/ready", responses={503: {"model": Ready, "description": "No model is loaded yet, or nothing scores."}})
    async def ready(response: Response) -> Ready:
        """Whether requests are scored; 503 with the reason when not."""
        reasons = service.not_ready()
        response.status_code = 503 if reasons else 200
        return Ready(ready=not reasons, reasons=reasons)

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics_() -> Response:
        """Metrics in Prometheus text format."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _answer_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, ProblemError):
        raise error
    request.state.logged["error"] = error.error
    return error.response(request_id_of(request.scope))


async def _answer_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = "no such path; /docs lists all" if error.detail == _NO_PATH else str(error.detail)
    problem = ProblemError(error.status_code, _CODES.get(error.status_code, "http_error"), detail)
    problem.headers |= error.headers or {}
    return problem.response(request_id_of(request.scope))


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_CLIENT_LEFT)


async def _answer_defect(request: Request, _error: Exception) -> Response:
    request.state.logged["error"] = "internal_error"
    return defect(request_id_of(request.scope))


async def _refuse_host(scope: Scope, receive: Receive, send: Send) -> None:
    answer = ProblemError(421, "wrong_host", WRONG_HOST).response(request_id_of(scope))
    await answer(scope, receive, send)
