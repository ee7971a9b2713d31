"""`hazardstream serve` as a process: it finds its model, follows the alias, and ends when it is asked to."""

import re
import signal
import sys
from pathlib import Path

import httpx

from local.process import start, stop
from tests.harness import wait_until
from tests.model_registry import Registry
from tests.models import changed, renamed

ROW = {"rows": [{"max_surface_temp_c": 90.0}]}


def test_it_waits_for_a_model_follows_the_alias_and_stops(
    mlflow_url: str, model_package: Path, tmp_path: Path, unique_name: str
) -> None:
    first = renamed(model_package, tmp_path / "first", unique_name)
    models = Registry(unique_name, mlflow_url)
    environment = {
        "HAZARDSTREAM_MODEL": models.uri,
        "MLFLOW_TRACKING_URI": mlflow_url,
        "HAZARDSTREAM_MODEL_WATCH_MS": "100",
        "HAZARDSTREAM_CACHE_DIRECTORY": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "hazardstream", "serve", "--pipeline", "battery_hazard", "--port", "0"]
    server = start("serve", command, tmp_path / "serve.log", environment)
    try:
        found = wait_until(lambda: re.search(r"http://[\d.:]+", server.log.read_text()), "it listens")
        with httpx.Client(base_url=found[0], trust_env=False) as client:
            assert client.get("/live").status_code == 200
            ready = client.get("/ready")
            assert ready.status_code == 503, ready.text

            version = models.add(first)
            models.point(version)
            wait_until(lambda: client.get("/ready").status_code == 200, "it is ready")
            assert client.post("/v1/predict", json=ROW).json()["model"]["version"] == version

            second = models.add(changed(first, tmp_path / "second", shift=0.2))
            models.point(second)
            wait_until(lambda: client.get("/v1/model").json()["version"] == second, "the second version scores")
            assert client.post("/v1/predict", json=ROW).json()["model"]["version"] == second
            assert client.get("/v1/model").json()["watch"]["swaps"] == 1
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0, server.log_tail()
    finally:
        stop([server])
