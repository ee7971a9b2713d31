"""A challenger in the shadow tells what it would have done, and does the champion no harm whatever it does."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.flagship import PIPELINE
from tests.models import changed, without_scaler
from tests.shadow_scene import MODULES, POLICY, Fake, Scene
from worker.consume.message_columns import batch_of
from worker.model.contract import Task
from worker.model.package import ModelPackage, load_package


@pytest.fixture
def champion(model_package: Path) -> ModelPackage:
    return load_package(model_package, version="1")


@pytest.fixture
def scene(champion: ModelPackage) -> Scene:
    return Scene(champion)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a hanging challenger hangs on, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("make", [partial(changed, shift=0.5), without_scaler], ids=["scaler", "no scaler"])
def test_each_reading_has_both_models_scores(
    scene: Scene, model_package: Path, tmp_path: Path, make: Callable[[Path, Path], Path]
) -> None:
    other = load_package(make(model_package, tmp_path / "other"), version="7")
    scene.shadow.adopt(other, other.policy, PIPELINE.topology)
    scored = scene.batch()
    assert [r["source_offset"] for r in scene.records] == list(range(MODULES))
    assert [r["champion_probability"] for r in scene.records] == scored.tolist()
    alike = Scene(other)
    assert [r["challenger_probability"] for r in scene.records] == alike.batch().tolist()
    assert {(r["champion_version"], r["challenger_version"]) for r in scene.records} == {("1", "7")}
    assert scene.metric("shadow_scored_total") == MODULES
    assert scene.metric("challenger_info", name=other.name, version="7") == 1


def test_disagreement_difference_and_would_be_alarms_are_counted(scene: Scene) -> None:
    scene.challenge(lambda features: np.where(np.arange(len(features)) < 10, 0.9, 0.0))
    before = scene.batch()
    scene.batch()
    assert (before < scene.champion.policy.setpoint).all()
    assert scene.metric("shadow_agreed_total") == 2 * (MODULES - 10)
    assert scene.metric("shadow_difference_count") == 2 * MODULES
    assert scene.metric("shadow_alarms_total", model="challenger") == 10  # raised once, and they stand
    assert scene.metric("shadow_alarms_total", model="champion") == 0
    assert [r["challenger_alarm"] for r in scene.records].count("ACTIVE") == 10
    assert [r["challenger_positive"] for r in scene.records[:MODULES]] == [True] * 10 + [False] * (MODULES - 10)
    scene.challenge(lambda features: np.zeros(len(features)), version="3")
    scene.batch()
    assert {r["challenger_alarm"] for r in scene.records[-MODULES:]} == {""}  # another model, other alarms


def test_alarms_are_counted_when_they_are_raised_and_not_when_their_priority_rises(champion: ModelPackage) -> None:
    probability = [0.6]
    known = {name: getattr(champion, name) for name in ModelPackage.__dataclass_fields__}
    models = [
        Fake(**known | {"version": version}, does=lambda features: np.full(len(features), probability[0]))
        for version in ("1", "2")
    ]
    policy = POLICY.changed({"priorities": {"high": 0.5, "critical": 0.8}})
    scene = Scene(models[0])
    scene.scorer.alarms.policy = policy
    scene.shadow.adopt(models[1], policy, PIPELINE.topology)
    for now in (0.6, 0.9, 0.9, 0.1, 0.9):  # raised, critical, stays, back to normal, raised
        probability[0] = now
        scene.batch()
    for model in ("champion", "challenger"):
        assert [r[f"{model}_alarm"] for r in scene.records].count("ACTIVE") == 3 * MODULES
        assert scene.metric("shadow_alarms_total", model=model) == 2 * MODULES


def test_what_is_not_committed_leaves_no_trace(scene: Scene) -> None:
    scene.challenge(lambda features: np.full(len(features), 0.9))
    scene.batch(commit=False)
    assert scene.metric("shadow_scored_total") == 0
    scene.batch()
    assert scene.metric("shadow_alarms_total", model="challenger") == MODULES


def test_a_share_of_the_modules_is_scored_and_always_the_same(champion: ModelPackage) -> None:
    scene = Scene(champion, share=0.5)
    scene.challenge(lambda features: np.zeros(len(features)))
    for _ in range(3):
        scene.batch()
    counts = [[r["module_id"] for r in scene.records].count(f"Rack1_Module{m:02}") for m in range(MODULES)]
    assert set(counts) == {0, 3}
    assert MODULES / 4 < counts.count(3) < MODULES * 3 / 4


@pytest.mark.parametrize(
    "does",
    [
        lambda _features: 1 / 0,
        lambda features: np.full(len(features), np.nan),
        lambda features: np.full(len(features), 1.5),
        lambda features: np.zeros(len(features) + 1),
    ],
    ids=["raises", "gives NaN", "gives no probability", "gives too many"],
)
def test_a_challenger_that_fails_is_dropped(scene: Scene, does: Any) -> None:
    expected = Scene(scene.champion).batch()
    scene.challenge(does)
    assert scene.batch().tolist() == expected.tolist()
    scene.batch()
    assert scene.records == []
    assert scene.metric("challenger_dropped_total", reason="failed") == 1
    assert scene.metric("shadow_missed_total") == MODULES
    assert "dropped (failed)" in scene.idle
    scene.challenge(lambda features: np.zeros(len(features)), version="3")
    scene.batch()
    assert len(scene.records) == MODULES


def test_a_challenger_that_is_too_slow_rests_and_is_tried_again(
    champion: ModelPackage, release: threading.Event
) -> None:
    scene = Scene(champion, max_ms=500)
    scene.challenge(lambda features: release.wait(60) and np.zeros(len(features)))
    for _ in range(12):
        scene.batch()
    assert scene.records == []
    assert scene.metric("challenger_dropped_total", reason="too_slow") == 1
    assert scene.metric("challenger_info", name=champion.name, version="2") == 1
    assert scene.metric("shadow_missed_total") == 12 * MODULES
    assert "HAZARDSTREAM_CHALLENGER_MAX_MS" in scene.idle
    release.set()
    scene.batch()
    assert scene.records == []  # it is fast now, and rests
    scene.now_s = 61.0
    scene.batch()
    assert len(scene.records) == MODULES
    assert scene.idle == "None"
    assert scene.metric("challenger_dropped_total", reason="too_slow") == 1


def test_a_challenger_that_hangs_is_waited_for_once_and_not_begun_again(
    champion: ModelPackage, release: threading.Event
) -> None:
    scene, begun = Scene(champion, max_ms=1), count()

    def hang(features: np.ndarray) -> np.ndarray:
        next(begun)
        release.wait(60)
        return np.zeros(len(features))

    scene.challenge(hang)
    for minute in range(5):
        scene.now_s = minute * 61.0
        for _ in range(12):
            scene.batch()
    assert next(begun) == 1
    assert scene.metric("challenger_dropped_total", reason="too_slow") == 5
    patient = Scene(champion)
    patient.challenge(lambda features: np.zeros(len(features)))
    patient.batch()
    assert len(patient.records) == MODULES


def test_one_slow_batch_is_missed_and_forgiven(champion: ModelPackage, release: threading.Event) -> None:
    scene = Scene(champion, max_ms=1)
    scene.challenge(lambda features: release.wait(60) and np.zeros(len(features)))
    scene.batch()
    release.set()
    for _ in range(20):
        scene.batch()
    assert scene.metric("challenger_dropped_total", reason="too_slow") == 0
    assert scene.records


def test_a_challenger_with_other_windows_does_not_score_and_says_so(scene: Scene) -> None:
    spec = scene.champion.spec.model_copy(update={"max_span_ms": 1_800_000})
    scene.challenge(lambda features: np.zeros(len(features)), spec=spec)
    scene.batch()
    assert scene.records == []
    assert "windows" in scene.idle
    # A champion with the same windows takes over.
    scene.scorer.model = replace(scene.scorer.model, spec=spec)
    scene.batch()
    assert len(scene.records) == MODULES
    assert scene.idle == "None"


def test_the_champion_is_not_its_own_challenger(scene: Scene) -> None:
    scene.challenge(lambda features: np.zeros(len(features)), version="1")
    scene.batch()
    assert scene.records == []
    assert scene.idle == "it is the champion"


def test_alarms_of_a_partition_that_left_are_forgotten(scene: Scene) -> None:
    scene.challenge(lambda features: np.full(len(features), 0.9))
    scene.batch()
    outcome = scene.scorer.process(batch_of([]), {})
    scene.shadow.begin(outcome, {})  # the partition went, and comes back
    scene.batch()
    assert scene.metric("shadow_alarms_total", model="challenger") == 2 * MODULES


def test_when_the_alias_stands_for_nothing_none_scores(scene: Scene) -> None:
    scene.challenge(lambda features: np.zeros(len(features)))
    scene.shadow.leave()
    scene.batch()
    assert scene.records == []
    assert scene.status.challenger is None
    assert scene.metric("challenger_info", name=scene.champion.name, version="2") == 0


def test_only_the_probability_of_one_class_is_compared(scene: Scene) -> None:
    scene.challenge(lambda features: np.zeros(len(features)), task=Task.REGRESSION)
    scene.batch()
    assert scene.records == []
    assert "probability of one class" in scene.idle
