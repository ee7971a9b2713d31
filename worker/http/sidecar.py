"""The HTTP sidecar: health, metrics and details of one worker, served by a thread beside the loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, HTTPException, Path, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from worker.http.docs_page import add_docs
from worker.http.guard import Guard
from worker.http.key_description import description_of
from worker.http.server import HttpServer
from worker.observe.loop_questions import LoopQuestions
from worker.observe.worker_status import Status

_ANSWER_WITHIN_S = 2.0
# Cancelled questions stay in the queue until the loop takes them out.
_QUESTIONS_WAITING = 100
# Threads that answer requests, except probes and questions to the loop, which need none.
_THREADS = 4


class Live(BaseModel):
    """Whether the loop makes progress."""

    live: bool
    seconds_since_last_turn: float


class Ready(BaseModel):
    """Whether readings are being scored, and why not."""

    ready: bool
    reasons: list[str]
    warnings: list[str]


class Problem(BaseModel):
    """Why a request failed."""

    detail: str


def _problem(meaning: str) -> dict[str, Any]:
    return {"model": Problem, "description": meaning}


def build_app(status: Status, questions: LoopQuestions) -> FastAPI:
    """The sidecar's routes over a worker's status, and its questions to the loop."""
    app = FastAPI(
        title="hazardstream worker",
        description="Health, metrics and details of one worker.",
        lifespan=_few_threads,
        docs_url=None,
        redoc_url=None,
    )
    add_docs(app)
    _add_health(app, status)
    _add_inside(app, status, questions)
    return app


@asynccontextmanager
async def _few_threads(_: FastAPI) -> AsyncIterator[None]:
    """Few threads, so that many requests cannot slow the loop down. Probes need no thread."""
    current_default_thread_limiter().total_tokens = _THREADS
    yield


def _add_health(app: FastAPI, status: Status) -> None:
    @app.get("/live", responses={503: {"model": Live, "description": "The loop is stuck."}})
    async def live(response: Response) -> Live:
        """Whether the loop makes progress; 503 when it is stuck."""
        alive = not status.stuck()
        response.status_code = 200 if alive else 503
        return Live(live=alive, seconds_since_last_turn=round(status.stuck_for_s(), 3))

    @app.get("/ready", responses={503: {"model": Ready, "description": "Not ready, with the reasons."}})
    async def ready(response: Response) -> Ready:
        """Whether readings are being scored; 503 with the reasons when not."""
        reasons = status.reasons_not_ready()
        response.status_code = 503 if reasons else 200
        return Ready(ready=not reasons, reasons=reasons, warnings=status.warnings())

    @app.get("/health")
    def health() -> dict[str, Any]:
        """A summary of the worker's state."""
        return {
            "pipeline": status.pipeline,
            "instance": status.instance,
            "guarantee": status.guarantee,
            "phase": status.phase,
            "live": not status.stuck(),
            "not_ready": status.reasons_not_ready(),
            "warnings": status.warnings(),
            "partitions": status.partitions,
            "lag": status.lag,
            "model": status.model and {k: status.model[k] for k in ("name", "version")},
            "model_refused": status.model_watch and status.model_watch["refused"],
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Metrics in Prometheus text format."""
        return Response(generate_latest(status.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_inside(app: FastAPI, status: Status, questions: LoopQuestions) -> None:
    @app.get("/model", responses={503: _problem("No model is loaded yet.")})
    def model() -> dict[str, Any]:
        """The model in use (source, features, alarm policy, metrics, digests), its alias watch, and the challenger."""
        if status.model is None:
            raise HTTPException(503, "no model is loaded yet; see /ready")
        challenger = {"challenger": status.challenger, "challenger_watch": status.challenger_watch}
        return status.model | {"watch": status.model_watch} | challenger

    @app.get("/schema")
    def schema() -> dict[str, Any]:
        """Avro schemas of the topics, by role in the pipeline."""
        return status.schemas

    @app.get(
        "/keys/{key:path}",
        responses={
            404: _problem("This worker holds no window of the key: it is unknown, long silent, or on another worker."),
            503: _problem("The loop is not running, or too many requests wait for it."),
            504: _problem(f"The loop did not complete an iteration within {_ANSWER_WITHIN_S:.0f} s."),
        },
    )
    async def key(
        key: Annotated[str, Path(description="Key of readings.")],
    ) -> dict[str, Any]:
        """One key: its last scored reading, its window, its alarms, and why the model could not judge it, if so.

        `last_scored` is null until a reading of the key is scored after the worker took over its partition. Values have
        the readings' own units. Features are computed from values divided by `scale`: see `window_scaled`. Times: UTC.
        """
        if status.phase != "running" or questions.waiting >= _QUESTIONS_WAITING:
            raise HTTPException(
                503, f"the worker is {status.phase}, or too many requests wait for it; see /live and /ready"
            )
        answer = questions.ask(partial(description_of, key))
        try:
            # A timeout also cancels the question.
            found = await asyncio.wait_for(asyncio.wrap_future(answer), _ANSWER_WITHIN_S)
        except TimeoutError as error:
            raise HTTPException(504, "the loop is busy; try again, and see /live") from error
        if found is None:
            raise HTTPException(
                404, f"this worker holds no window of {key!r}: it is unknown, long silent, or on another worker"
            )
        return dict(found)


def sidecar(status: Status, questions: LoopQuestions, host: str, port: int, allowed_hosts: str = "") -> HttpServer:
    """The HTTP server of a worker.

    Args:
        status: what it shows.
        questions: to the loop.
        host: address to listen on.
        port: to listen on; 0: any free port.
        allowed_hosts: further host names that requests may use, separated by commas.
    """
    return HttpServer(Guard(build_app(status, questions), host, allowed_hosts.split(",")), host, port)
