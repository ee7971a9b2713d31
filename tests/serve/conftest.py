"""The API in this process, with a model that is already loaded."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import TestClient

from serve.app import build_app
from serve.live_model import LiveModel
from serve.metrics import ServeMetrics
from serve.request_log import RequestLog
from serve.settings import ServeSettings
from tests.flagship import PIPELINE
from tests.harness import reading
from worker.config.settings import load_settings
from worker.model.contract import Model, Task
from worker.model.package import ModelPackage

Start = Callable[..., TestClient]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an API with a model (or without one) and these settings."""
    with ExitStack() as clients:

        def started(model: Model | None, task: Task = Task.BINARY, **given: Any) -> TestClient:
            pipeline = PIPELINE.model_copy(update={"task": task})
            settings = load_settings(ServeSettings, pipeline="battery_hazard", **given)
            metrics = ServeMetrics()
            live, log = LiveModel(settings, pipeline, metrics), RequestLog(settings, metrics)
            clients.callback(log.close)
            if model is not None:
                live.use(model)
            app = build_app(settings, pipeline, live, metrics, log)
            return clients.enter_context(TestClient(app, base_url="http://localhost"))

        yield started


@pytest.fixture
def api(start: Start, package: ModelPackage) -> TestClient:
    return start(package)


@pytest.fixture
def history() -> list[dict[str, Any]]:
    """Readings of two modules over three minutes that end now; the second one gets hot."""
    now = time.time_ns() // 1_000_000
    return [
        reading(module, now - (18 - i) * 10_000, max_surface_temp_c=27.0 + i * heat)
        for i in range(18)
        for module, heat in (("M1", 0.0), ("M2", 6.0))
    ]
