"""One model in a real MLflow server, workers that watch it, and whether each prediction is its own version's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.harness import START_MS, Stage, Worker, reading, wait_until
from tests.models import register_unseen
from tests.uninterrupted import uninterrupted_run
from worker.model.mlflow_client import mlflow_client

PERIOD_MS = 10_000
MODULES = [f"Rack1_Module{n:02}" for n in range(5)]


def readings(first: int, count: int, **sensors: float) -> list[dict[str, Any]]:
    """So many steps of all modules, now a little warmer, now colder."""
    return [
        reading(m, START_MS + step * PERIOD_MS, **{"avg_surface_temp_c": 26.0 + step % 7 * 0.3, **sensors})
        for step in range(first, first + count)
        for m in MODULES
    ]


@dataclass
class Registry:
    """Versions of one model, and the packages they were made of (sound ones)."""

    name: str
    url: str
    packages: dict[str, Path] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}@champion"

    def add(self, package: Path, *, sound: bool = True) -> str:
        version = register_unseen(package, self.name, self.url)
        if sound:
            self.packages[version] = package
        return version

    def point(self, version: str) -> None:
        with mlflow_client(self.url) as client:
            client.set_registered_model_alias(self.name, "champion", version)

    def remove_alias(self) -> None:
        with mlflow_client(self.url) as client:
            client.delete_registered_model_alias(self.name, "champion")

    @property
    def settings(self) -> dict[str, str]:
        return {"model": self.uri, "tracking_uri": self.url, "model_watch_ms": "100"}

    @contextmanager
    def worker(self, stage: Stage, **settings: str) -> Iterator[Worker]:
        """A worker that watches the alias, and is ready."""
        with stage.worker(**self.settings, **settings) as worker:
            worker.await_ready()
            yield worker

    def assert_each_prediction_is_its_versions(self, stage: Stage) -> list[str]:
        """Each reading has one prediction, equal bit for bit to what its version gives offline; all versions found."""
        expected = {v: uninterrupted_run(replace(stage, model=p)) for v, p in self.packages.items()}
        seen: set[tuple[int, int]] = set()
        versions = []
        for record in stage.stream("predictions"):
            place = record["source_partition"], record["source_offset"]
            assert place not in seen, f"doubled: {place}"
            seen.add(place)
            offline = expected[record["model_version"]]
            got = record["hazard_probability"], record["readings_in_window"]
            assert got == (offline.probability[place], offline.in_window[place]), place
            versions.append(record["model_version"])
        assert seen == next(iter(expected.values())).probability.keys()
        return versions


def shown(worker: Worker) -> dict[str, Any]:
    """What `/model` says."""
    answer = worker.get("/model")
    return answer.json() if answer is not None and answer.status_code == 200 else {}


def await_version(worker: Worker, version: str) -> None:
    """Wait until a version scores."""
    wait_until(lambda: shown(worker).get("version") == version, f"version {version} scores")
