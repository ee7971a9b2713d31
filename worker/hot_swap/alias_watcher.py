"""Watches the alias of a model, and brings each new version that passes its checks into the loop."""

import threading
from collections.abc import Callable
from typing import Any

import structlog

from common.errors import DependencyDownError, UserError
from common.times import iso_now
from worker.admission.mlflow_source import MlflowSource, RefusedModelError
from worker.admission.versions import ResolvedVersion
from worker.model.contract import Model
from worker.observe.dependency_wait import StoppedError
from worker.observe.metrics import WatchMetrics

# An operator can allow such a version again although the alias has not moved (worker/admission/failures.py).
_FORGIVABLE = "failed_in_use"
_LOG = structlog.get_logger(__name__)


class ModelWatch:
    """A thread beside the loop. If anything fails here, the current model stays.

    Args:
        source: resolves the alias, and downloads and checks a version.
        every_s: seconds between two checks.
        version: the version that scores now; empty if there is none.
        swap: makes the loop use a model.
        show: shows a model as the current one.
        metrics: of this watch.
        show_status: called from this thread with a new status for the sidecar.
        stop: ends the thread.
        lost: called when the alias points to no usable version; then a missing alias is no fault. None: the current
            model stays.
    """

    def __init__(
        self,
        source: MlflowSource,
        every_s: float,
        version: str,
        swap: Callable[[Model], None],
        show: Callable[[Model], None],
        metrics: WatchMetrics,
        show_status: Callable[[dict[str, Any]], None],
        stop: threading.Event,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self._source, self._every_s, self._stop = source, every_s, stop
        self._version, self._swap, self._show, self._lost = version, swap, show, lost
        self._metrics, self._show_status = metrics, show_status
        self._refused: tuple[ResolvedVersion | None, str] | None = None
        self._shown: dict[str, Any] = {
            "every_s": every_s,
            "looked_at": None,
            "down": None,
            "refused": None,
            "swaps": 0,
            "swapped_at": None,
        }
        self._update()
        self._thread = threading.Thread(target=self._run, name="model watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except StoppedError:
                return
            except Exception:  # noqa: BLE001 - a bug here must not end the watch silently, nor the worker
                _LOG.exception("the model could not be watched")
            self._stop.wait(self._every_s)

    def look(self) -> None:
        """Check once, and swap if there is a new version that passes its checks."""
        found = None
        try:
            found = self._source.look_up()
            if found.version == self._version:
                self._refused = None
                self._update(refused=None)
            elif self._is_new(found):
                model = self._source.fetch(found)
                self._swap(model)
                self._swapped(model)
        except RefusedModelError as refused:
            self._note_refused(found, refused)
        except (DependencyDownError, UserError) as down:
            self._note_down(down)
            return
        self._metrics.source_down.set(0)
        self._update(looked_at=iso_now(), down=None)

    def _is_new(self, found: ResolvedVersion) -> bool:
        return self._refused is None or self._refused[0] != found or self._refused[1] == _FORGIVABLE

    def _swapped(self, model: Model) -> None:
        _LOG.info(
            "model swapped" if self._lost is None else "challenger swapped in",
            name=model.name,
            version=model.version,
            before=self._version,
        )
        self._version, self._refused = model.version, None
        self._show(model)
        self._metrics.swaps.inc()
        self._update(refused=None, swaps=self._shown["swaps"] + 1, swapped_at=iso_now())

    def _note_refused(self, found: ResolvedVersion | None, refused: RefusedModelError) -> None:
        if self._refused == (found, refused.fault):
            return
        self._refused = found, refused.fault
        if self._lost is not None:
            self._version = ""
            self._lost()
            if refused.fault == "not_there":
                self._update(refused=None)
                return
        _LOG.error(
            "model refused, the last good one goes on" if self._lost is None else "challenger refused",
            fault=refused.fault,
            refused=refused.version,
            scoring=self._version,
            reason=str(refused),
        )
        self._metrics.refused.labels(refused.fault).inc()
        self._update(
            refused={"fault": refused.fault, "version": refused.version, "reason": str(refused), "since": iso_now()}
        )

    def _note_down(self, down: DependencyDownError | UserError) -> None:
        if self._shown["down"] != str(down):
            _LOG.warning("the model cannot be watched for now", reason=str(down))
        self._metrics.source_down.set(1)
        self._update(down=str(down))

    def _update(self, **news: Any) -> None:
        # Another thread reads this, so it is replaced, never changed.
        self._shown = self._shown | news
        self._show_status(self._shown)
        self._metrics.stale.set(self._shown["refused"] is not None)
