"""Looks where a model's alias points, and brings what is new there into the loop if it proves sound."""

import threading
from collections.abc import Callable
from typing import Any

import structlog

from common.errors import DependencyDownError, UserError
from common.times import iso_now
from worker.admission.mlflow_source import MlflowSource, RefusedModelError, ResolvedVersion
from worker.model.package import ModelPackage
from worker.observe.dependency_wait import StoppedError
from worker.observe.metrics import WatchMetrics

# An operator may have such a version tried again, without that the alias moves (worker/admission/failures.py).
_FORGIVABLE = "failed_in_use"
_LOG = structlog.get_logger(__name__)


class ModelWatch:
    """A thread beside the loop. Whatever it meets, the model that scores goes on.

    Args:
        source: where to look; its `prove` says whether the pipeline can use a model.
        every_s: seconds between two looks.
        version: of the model that scores; empty where none does.
        swap: has a model take over.
        show: shows a model as the one that scores.
        metrics: of this watch.
        tell: given what the sidecar tells of it; from this thread, a new one each time.
        stop: ends it.
        lost: called when the alias comes to stand for nothing that can be used, where then no model is to go on.
            That it stands for nothing at all is then in order.
    """

    def __init__(
        self,
        source: MlflowSource,
        every_s: float,
        version: str,
        swap: Callable[[ModelPackage], None],
        show: Callable[[ModelPackage], None],
        metrics: WatchMetrics,
        tell: Callable[[dict[str, Any]], None],
        stop: threading.Event,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self._source, self._every_s, self._stop = source, every_s, stop
        self._version, self._swap, self._show, self._lost = version, swap, show, lost
        self._metrics, self._tell_status = metrics, tell
        self._refused: tuple[ResolvedVersion | None, str] | None = None
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
            elif self._is_new(found):
                package = self._source.fetch(found)
                self._swap(package)
                self._swapped(package)
        except RefusedModelError as refused:
            self._note_refused(found, refused)
        except (DependencyDownError, UserError) as down:
            self._note_down(down)
            return
        self._metrics.source_down.set(0)
        self._tell(looked_at=iso_now(), down=None)

    def _is_new(self, found: ResolvedVersion) -> bool:
        return self._refused is None or self._refused[0] != found or self._refused[1] == _FORGIVABLE

    def _swapped(self, package: ModelPackage) -> None:
        _LOG.info(
            "model swapped" if self._lost is None else "challenger swapped in",
            name=package.name,
            version=package.version,
            before=self._version,
        )
        self._version, self._refused = package.version, None
        self._show(package)
        self._metrics.swaps.inc()
        self._tell(refused=None, swaps=self._told["swaps"] + 1, swapped_at=iso_now())

    def _note_refused(self, found: ResolvedVersion | None, refused: RefusedModelError) -> None:
        if self._refused == (found, refused.fault):
            return
        self._refused = found, refused.fault
        if self._lost is not None:
            self._version = ""
            self._lost()
            if refused.fault == "not_there":
                self._tell(refused=None)
                return
        _LOG.error(
            "model refused, the last good one goes on" if self._lost is None else "challenger refused",
            fault=refused.fault,
            refused=refused.version,
            scoring=self._version,
            reason=str(refused),
        )
        self._metrics.refused.labels(refused.fault).inc()
        self._tell(
            refused={"fault": refused.fault, "version": refused.version, "reason": str(refused), "since": iso_now()}
        )

    def _note_down(self, down: DependencyDownError | UserError) -> None:
        if self._told["down"] != str(down):
            _LOG.warning("the model cannot be watched for now", reason=str(down))
        self._metrics.source_down.set(1)
        self._tell(down=str(down))

    def _tell(self, **news: Any) -> None:
        # Another thread reads it: a new one each time, never changed.
        self._told = self._told | news
        self._tell_status(self._told)
        self._metrics.stale.set(self._told["refused"] is not None)
