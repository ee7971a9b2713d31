"""Looks where a model's alias points, and brings what is new there into the loop if it proves sound."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from worker.errors import DependencyDownError
from worker.mlflow_source import Found, MlflowSource, RefusedModelError
from worker.package import ModelPackage
from worker.status import Status
from worker.waiting import StoppedError

_LOG = structlog.get_logger(__name__)


class ModelWatch:
    """A thread beside the loop. Whatever it meets, the model that scores goes on.

    Args:
        source: where to look; its `prove` says whether the pipeline can use a model.
        every_s: seconds between two looks.
        current: the model that scores.
        swap: has the loop take a model over (worker/model_swap.py).
        show: shows a model as the one that scores.
        status: gets what the sidecar tells of this.
        stop: ends it.
    """

    def __init__(
        self,
        source: MlflowSource,
        every_s: float,
        current: ModelPackage,
        swap: Callable[[ModelPackage], None],
        show: Callable[[ModelPackage], None],
        status: Status,
        stop: threading.Event,
    ) -> None:
        self._source, self._every_s, self._stop = source, every_s, stop
        self._version, self._swap, self._show, self._status = current.version, swap, show, status
        self._refused: tuple[Found | None, str] | None = None
        self._told: dict[str, Any] = {
            "every_s": every_s,
            "looked_at": None,
            "down": None,
            "refused": None,
            "swaps": 0,
            "swapped_at": None,
        }
        self._tell()
        self._thread = threading.Thread(target=self._run, name="model watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except StoppedError:
                return
            except Exception:  # noqa: BLE001 - a mistake in here must not end the watch unnoticed, nor the worker
                _LOG.exception("the model could not be watched")
            self._stop.wait(self._every_s)

    def look(self) -> None:
        """Look once, and swap where there is something new and sound."""
        found = None
        try:
            found = self._source.look_up()
            if found.version == self._version:
                self._refused = None
                self._tell(refused=None)
            elif self._refused is None or found != self._refused[0]:
                package = self._source.fetch(found)
                self._swap(package)
                self._swapped(package)
        except RefusedModelError as refused:
            self._note_refused(found, refused)
        except DependencyDownError as down:
            self._note_down(down)
            return
        self._status.metrics.model_source_down.set(0)
        self._tell(looked_at=_now(), down=None)

    def _swapped(self, package: ModelPackage) -> None:
        _LOG.info("model swapped", name=package.name, version=package.version, before=self._version)
        self._version, self._refused = package.version, None
        self._show(package)
        self._status.metrics.model_swaps.inc()
        self._tell(refused=None, swaps=self._told["swaps"] + 1, swapped_at=_now())

    def _note_refused(self, found: Found | None, refused: RefusedModelError) -> None:
        if self._refused == (found, refused.fault):
            return
        self._refused = found, refused.fault
        _LOG.error(
            "model refused, the last good one goes on",
            fault=refused.fault,
            refused=refused.version,
            scoring=self._version,
            reason=str(refused),
        )
        self._status.metrics.model_refused.labels(refused.fault).inc()
        self._tell(
            refused={"fault": refused.fault, "version": refused.version, "reason": str(refused), "since": _now()}
        )

    def _note_down(self, down: DependencyDownError) -> None:
        if self._told["down"] != str(down):
            _LOG.warning("the model cannot be watched for now", reason=str(down))
        self._status.metrics.model_source_down.set(1)
        self._tell(down=str(down))

    def _tell(self, **news: Any) -> None:
        # Another thread reads it: a new one each time, never changed.
        self._told = self._told | news
        self._status.model_watch = self._told
        self._status.metrics.model_stale.set(self._told["refused"] is not None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
