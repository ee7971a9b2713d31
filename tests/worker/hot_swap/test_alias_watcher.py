"""What the watch does with what it meets: new, refused, gone, out of reach."""

import threading
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.errors import DependencyDownError
from worker.admission.mlflow_source import RefusedModelError
from worker.admission.versions import ResolvedVersion
from worker.hot_swap.alias_watcher import ModelWatch
from worker.model.mlflow_client import NotAllowedError
from worker.model.package import ModelPackage
from worker.observe.metrics import Metrics
from worker.observe.worker_status import Status


@dataclass
class Scene:
    """A watch, what its alias stands for, and what it did."""

    package: ModelPackage
    alias: str | Exception = "1"
    broken: dict[str, Exception] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    status: Status = field(default_factory=lambda: Status(Metrics(), "p", "i", "exactly_once"))

    def __post_init__(self) -> None:
        self.watch = ModelWatch(
            self,  # type: ignore[arg-type]  # it has what is asked of a source
            60.0,
            self.package.version,
            lambda package: self.swapped.append(package.version),
            lambda package: self.shown.append(package.version),
            self.status.metrics.champion_watch,
            partial(setattr, self.status, "model_watch"),
            threading.Event(),
        )

    def look_up(self) -> ResolvedVersion:
        if isinstance(self.alias, Exception):
            raise self.alias
        return ResolvedVersion(version=self.alias, folder="", digest=None, artifacts="")

    def fetch(self, found: ResolvedVersion) -> ModelPackage:
        self.fetched.append(found.version)
        if found.version in self.broken:
            raise self.broken[found.version]
        return replace(self.package, version=found.version)

    def look(self, alias: str | Exception) -> dict[str, Any]:
        self.alias = alias
        self.watch.look()
        assert self.status.model_watch is not None
        return self.status.model_watch

    def refused(self, fault: str) -> float | None:
        return self.status.metrics.registry.get_sample_value("hazardstream_model_refused_total", {"reason": fault})

    def gauge(self, name: str) -> float | None:
        return self.status.metrics.registry.get_sample_value(f"hazardstream_{name}")


@pytest.fixture
def scene(package: ModelPackage) -> Scene:
    return Scene(package)


def test_nothing_is_fetched_while_the_alias_stands_for_what_scores(scene: Scene) -> None:
    scene.look("1")
    assert scene.fetched == []


def test_a_new_version_is_swapped_in_once(scene: Scene) -> None:
    scene.look("2")
    scene.look("2")
    scene.look("1")
    assert scene.swapped == scene.shown == ["2", "1"]
    assert scene.gauge("model_swaps_total") == 2


def test_a_refused_version_is_tried_again_only_when_the_alias_has_moved(scene: Scene) -> None:
    scene.broken["2"] = RefusedModelError("golden_rows_differ", "2", "off by 0.5")
    told = [scene.look("2"), scene.look("2")]
    assert scene.fetched == ["2"]
    assert told[1]["refused"] == {**told[0]["refused"], "fault": "golden_rows_differ", "version": "2"}
    assert (scene.refused("golden_rows_differ"), scene.gauge("model_stale")) == (1, 1)
    assert scene.look("1")["refused"] is None
    assert scene.gauge("model_stale") == 0
    scene.look("2")
    assert scene.fetched == ["2", "2"]
    assert scene.swapped == []


def test_the_next_sound_version_ends_a_refusal(scene: Scene) -> None:
    scene.broken["2"] = RefusedModelError("too_slow", "2", "")
    scene.look("2")
    assert scene.look("3")["refused"] is None
    assert scene.swapped == ["3"]


def test_an_alias_that_stands_for_nothing_is_reported_once(scene: Scene) -> None:
    gone = RefusedModelError("not_there", "", "there is no such alias")
    for _ in range(3):
        assert scene.look(gone)["refused"]["fault"] == "not_there"
    assert scene.refused("not_there") == 1


def test_mlflow_out_of_reach_is_reported_and_a_swap_comes_later(scene: Scene) -> None:
    assert scene.look(DependencyDownError("mlflow", "connection refused"))["down"] == "mlflow: connection refused"
    assert scene.gauge("model_source_down") == 1
    assert scene.look("2")["down"] is None
    assert scene.gauge("model_source_down") == 0
    assert scene.swapped == ["2"]


def test_mlflow_that_refuses_is_reported_as_out_of_reach(scene: Scene) -> None:
    assert scene.look(NotAllowedError("MLflow refuses: token expired"))["down"] == "MLflow refuses: token expired"
    assert scene.gauge("model_source_down") == 1
    assert scene.look("2")["down"] is None


def test_a_fetch_that_fails_for_now_is_tried_again(scene: Scene) -> None:
    scene.broken["2"] = DependencyDownError("mlflow", "no route")
    scene.look("2")
    scene.broken.clear()
    scene.look("2")
    assert scene.swapped == ["2"]


def test_a_challenger_whose_alias_stands_for_nothing_is_no_fault_and_its_successor_is_taken(scene: Scene) -> None:
    lost: list[str] = []
    scene.watch = ModelWatch(
        scene,  # type: ignore[arg-type]  # it has what is asked of a source
        60.0,
        "",
        lambda package: scene.swapped.append(package.version),
        lambda _package: None,
        scene.status.metrics.challenger_watch,
        partial(setattr, scene.status, "challenger_watch"),
        threading.Event(),
        lambda: lost.append("lost"),
    )

    def look(alias: str | Exception) -> dict[str, Any]:
        scene.alias = alias
        scene.watch.look()
        assert scene.status.challenger_watch is not None
        return scene.status.challenger_watch

    gone = RefusedModelError("not_there", "", "there is no such alias")
    assert look(gone)["refused"] is None
    look("2")
    assert look(gone)["refused"] is None
    look(gone)
    assert lost == ["lost", "lost"]  # each time that it had come to stand for nothing
    with capture_logs() as logs:
        look("2")
    assert [log["event"] for log in logs] == ["challenger swapped in"]
    assert scene.swapped == ["2", "2"]
    scene.broken["3"] = RefusedModelError("too_slow", "3", "")
    assert look("3")["refused"]["fault"] == "too_slow"
    assert len(lost) == 3  # what scored before is not asked for any more
    assert scene.gauge("challenger_stale") == 1
    look("2")
    assert scene.swapped == ["2", "2", "2"]
    assert scene.refused("too_slow") is None  # the champion's
    assert scene.status.model_watch is not None
    assert scene.status.model_watch["refused"] is None
