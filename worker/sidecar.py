"""The HTTP sidecar: health, metrics and a look inside, served by a thread beside the loop."""

import threading
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, HTTPException, Path, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from worker.errors import UserError
from worker.partition import Partition
from worker.scoring import Scorer
from worker.status import Status

_ANSWER_WITHIN_S = 2.0
# Questions that nobody waits for any more stay in the queue until the loop comes round.
_QUESTIONS_WAITING = 100


class Live(BaseModel):
    """Whether the loop makes progress."""

    live: bool
    seconds_since_last_turn: float


class Ready(BaseModel):
    """Whether readings are being scored, and why not."""

    ready: bool
    reasons: list[str]


class Problem(BaseModel):
    """What is wrong, in words."""

    detail: str


def _problem(meaning: str) -> dict[str, Any]:
    return {"model": Problem, "description": meaning}


def build_app(status: Status) -> FastAPI:
    """The sidecar's routes over a worker's status."""
    app = FastAPI(title="hazardstream worker", description="Health, metrics and a look inside of one worker.")
    _add_health(app, status)
    _add_inside(app, status)
    return app


def _add_health(app: FastAPI, status: Status) -> None:
    @app.get("/live", responses={503: {"model": Live, "description": "The loop is stuck."}})
    def live(response: Response) -> Live:
        """Whether the loop makes progress; 503 when it is stuck."""
        alive = not status.stuck()
        response.status_code = 200 if alive else 503
        return Live(live=alive, seconds_since_last_turn=round(status.stuck_for_s(), 3))

    @app.get("/ready", responses={503: {"model": Ready, "description": "Not ready, with the reasons."}})
    def ready(response: Response) -> Ready:
        """Whether readings are being scored; 503 with the reasons when not."""
        reasons = status.reasons_not_ready()
        response.status_code = 503 if reasons else 200
        return Ready(ready=not reasons, reasons=reasons)

    @app.get("/health")
    def health() -> dict[str, Any]:
        """The whole picture."""
        return {
            "pipeline": status.pipeline,
            "instance": status.instance,
            "guarantee": status.guarantee,
            "phase": status.phase,
            "live": not status.stuck(),
            "not_ready": status.reasons_not_ready(),
            "partitions": status.partitions,
            "lag": status.lag,
            "model": status.model and {k: status.model[k] for k in ("name", "version")},
            "model_refused": status.model_watch and status.model_watch["refused"],
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(status.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_inside(app: FastAPI, status: Status) -> None:
    @app.get("/model", responses={503: _problem("No model is loaded yet.")})
    def model() -> dict[str, Any]:
        """The model that scores: where from, features, alarm policy, training metrics, digests; how it is watched."""
        if status.model is None:
            raise HTTPException(503, "no model is loaded yet; see /ready")
        return status.model | {"watch": status.model_watch}

    @app.get("/schema")
    def schema() -> dict[str, Any]:
        """Avro schemas of the topics, by role."""
        return status.schemas

    @app.get(
        "/keys/{key:path}",
        responses={
            404: _problem("The key has no window here: unknown, silent for long, or another worker's."),
            503: _problem("The loop is not running, or too many questions wait for it."),
            504: _problem(f"The loop did not come round within {_ANSWER_WITHIN_S:.0f} s."),
        },
    )
    def key(key: Annotated[str, Path(description="Key of a reading, such as the module's id.")]) -> dict[str, Any]:
        """Current window and alarm of one key (module)."""
        if status.phase != "running" or status.questions.qsize() >= _QUESTIONS_WAITING:
            raise HTTPException(503, f"the worker is {status.phase}, or asked too much at a time; see /live and /ready")
        try:
            found = status.ask(lambda scorer, partitions: _describe(key, scorer, partitions), _ANSWER_WITHIN_S)
        except TimeoutError as error:
            raise HTTPException(504, "the loop is busy; ask again, and see /live") from error
        if found is None:
            raise HTTPException(404, f"{key!r} has no window here: unknown, silent for long, or another worker's")
        return dict(found)


def _describe(key: str, scorer: Scorer, partitions: dict[int, Partition]) -> dict[str, Any] | None:
    for partition in partitions.values():
        slot = partition.slots.get(key.encode())
        if slot is not None:
            window = scorer.state.window(slot)
            alarm = scorer.alarms.of(partition.number, key.encode())
            return {"key": key, "partition": partition.number, "window": window, "alarm": alarm}
    return None


class Sidecar:
    """Serves a status on a thread of its own."""

    def __init__(self, status: Status, host: str, port: int) -> None:
        # One connection limit keeps a flood of requests from taking the interpreter away from the loop.
        config = uvicorn.Config(build_app(status), host=host, port=port, log_config=None, limit_concurrency=64)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="sidecar", daemon=True)
        self._address, self._failed = f"{host}:{port}", threading.Event()

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # uvicorn's answer to a port that is taken
            self._failed.set()

    def start(self) -> int:
        """Start serving, and return the port.

        Raises:
            UserError: the address cannot be had.
        """
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if self._failed.is_set() or not self._thread.is_alive():
                raise UserError(f"the sidecar cannot listen on {self._address}: choose another with --http-port")
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(5.0)
