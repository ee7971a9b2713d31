"""The model that scores: found in the background, watched, and replaced while requests are answered."""

import gc
import threading
from functools import partial
from typing import Any

import structlog

from common.errors import DependencyDownError, UserError
from common.text import in_label
from serve.metrics import ServeMetrics
from serve.scoring import RequestScorer
from serve.settings import ServeSettings
from worker.admission.admit import demands_of
from worker.admission.mlflow_source import RefusedModelError
from worker.admission.source import mlflow_source, resolve_or_last_good
from worker.config.pipeline import Pipeline
from worker.hot_swap.alias_watcher import ModelWatch
from worker.model.contract import Model
from worker.observe.metrics import show

_LOG = structlog.get_logger(__name__)
_LONGEST_WAIT_S = 10.0


class LiveModel:
    """Finds the model as a worker does. Until there is one, it says why not and tries again.

    Attributes:
        scorer: scores with the current model; None until one is found. It is replaced, never changed.
        reason: why there is none, in words for anyone who asks; the log says more.
        watch: how the alias is watched; None where the model cannot change.
    """

    def __init__(self, settings: ServeSettings, pipeline: Pipeline, metrics: ServeMetrics) -> None:
        """Read the settings.

        Raises:
            UserError: the URI of the model has no known form.
        """
        self._settings, self._pipeline, self._metrics = settings, pipeline, metrics
        self.uri = settings.model_uri(pipeline.model)
        self._found_by: dict[str, Any] = {
            "cache_directory": settings.cache_directory,
            "tracking_uri": settings.tracking_uri,
            "demands": demands_of(settings, pipeline),
        }
        self._source = mlflow_source(self.uri, **self._found_by)
        self._stop = threading.Event()
        self.scorer: RequestScorer | None = None
        self.reason, self.watch, self._logged = "the model is being loaded", None, ""

    def start(self) -> None:
        """Begin to look for the model."""
        threading.Thread(target=self._run, name="model", daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()

    def use(self, model: Model) -> None:
        """Score with this model from the next request on."""
        self.scorer = RequestScorer(self._pipeline, model, self._settings.serve_max_rows)
        self.reason = ""
        gc.freeze()  # or each collection would traverse all that was imported, while requests wait
        show(self._metrics.model_info, {(in_label(model.name), in_label(model.version)): 1})
        _LOG.info("model loaded", name=model.name, version=model.version, uri=self.uri)

    def _run(self) -> None:
        model, wait_s = self._find(), 0.5
        while model is None:
            if self._stop.wait(wait_s):
                return
            model, wait_s = self._find(), min(2 * wait_s, _LONGEST_WAIT_S)
        self.use(model)
        if self._source is not None and self._source.moves and self._settings.model_watch_ms:
            shown = partial(setattr, self, "watch")
            every_s, metrics = self._settings.model_watch_ms / 1000, self._metrics.watch
            ModelWatch(
                self._source, every_s, model.version, self.use, lambda _: None, metrics, shown, self._stop
            ).start()

    def _find(self) -> Model | None:
        try:
            return resolve_or_last_good(self.uri, **self._found_by)
        except (DependencyDownError, UserError, RefusedModelError) as error:
            self._say(_reason(error), str(error))
        except Exception as error:  # noqa: BLE001 - whatever a model does, the server goes on and says so
            _LOG.exception("the model could not be loaded")
            self._say(_reason(error), repr(error))
        return None

    def _say(self, reason: str, detail: str) -> None:
        self.reason = reason
        if detail != self._logged:
            _LOG.warning("no model yet", reason=detail)
        self._logged = detail


def _reason(error: Exception) -> str:
    """What anyone may know: without paths, addresses and digests."""
    if isinstance(error, DependencyDownError):
        return "the model store does not answer; the log has details"
    if isinstance(error, RefusedModelError):
        return f"the model is refused ({error.fault}); the log has details"
    return "the model cannot be loaded; the log has details"
