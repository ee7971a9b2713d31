"""A broken package behind the alias is refused by the name of its fault, and the last good model goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from structlog.testing import capture_logs

from tests.flagship import PIPELINE
from tests.harness import Stage, Worker, wait_until
from tests.model_registry import Registry, readings, shown
from tests.models import changed, fitted_scaler, resealed, with_booster, with_pickled_scaler
from worker.admission.admit import Demands, admit
from worker.admission.failures import ModelFailures
from worker.admission.mlflow_source import RefusedModelError
from worker.admission.source import resolve, resolve_or_last_good
from worker.config.trust import Trust
from worker.model.package import load_package
from worker.model.package_files import FAULTS, MANIFEST, SCALER, PackageError, digest, read_package

Damage = Callable[[Path], Any]


class Where(TypedDict):
    cache_directory: Path
    tracking_uri: str


class OfAMissingModule:
    """Pickles as something that only a module that is not there can make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("a_module_that_is_not_there",)


class Exit:
    """Unpickling it ends the process, as a crash does."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os")._exit, (9,)


def edited(file: str, **changes: Any) -> Damage:
    def damage(package: Path) -> None:
        content = json.loads((package / file).read_text())
        (package / file).write_text(json.dumps(content | changes))

    return damage


def reference_with(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(package: Path) -> None:
        content = json.loads((package / "reference.json").read_text())
        change(content)
        (package / "reference.json").write_text(json.dumps(content))

    return damage


def written(file: str, content: bytes) -> Damage:
    return lambda package: (package / file).write_bytes(content)


def dumped(scaler: Any) -> Damage:
    return lambda package: with_pickled_scaler(package, scaler)


def slow(package: Path) -> None:
    """A scaler that gives what it should, after 4,000 steps that change nothing."""
    with np.load(package / "golden.npz") as golden:
        features = golden["features"].shape[1]
    nothing = StandardScaler().fit(np.array([[-1.0] * features, [1.0] * features]))
    with_pickled_scaler(package, make_pipeline(fitted_scaler(package), *[nothing] * 4000))


def other_golden_rows(package: Path) -> None:
    with np.load(package / "golden.npz") as golden:
        np.savez(package / "golden.npz", features=golden["features"], probability=1 - golden["probability"])


def other_sensors(package: Path) -> None:
    text = (package / "features.json").read_text()
    (package / "features.json").write_text(text.replace('"ambient_temp_c"', '"humidity"'))


SEALED: dict[str, Damage] = {
    "bad_features": edited("features.json", windows=[60, 30, 6]),
    "bad_thresholds": edited("alarm.json", deadband=0.999),
    "bad_metadata": written("metrics.json", b"{"),
    "bad_scaler": dumped(OfAMissingModule()),
    "bad_booster": written("booster.ubj", b"no trees"),
    "wrong_output": lambda package: with_booster(package, {"objective": "reg:squarederror"}),
    "wrong_signs": edited("features.json", monotone={"voltage_v": 1}),
    "untrusted": dumped(make_pipeline(StandardScaler())),
    "crashes": dumped(Exit()),
    "bad_golden_rows": written("golden.npz", b"no rows"),
    "wrong_signature": other_sensors,
    "golden_rows_differ": other_golden_rows,
    "too_slow": slow,
}
"""Damage done before the package was sealed."""
LATER: dict[str, Damage] = {
    "missing_file": lambda package: (package / SCALER).unlink(),
    "digest_mismatch": written(SCALER, b"not what was sealed"),
    "unreadable_manifest": written(MANIFEST, b"{"),
    "unknown_format": edited(MANIFEST, format=99),
    "too_large": written(MANIFEST, b" " * (2 << 20)),
}
"""And after."""
CODE = {"bad_scaler", "crashes", "too_slow"}
"""Scalers that are code, which is run where the operator trusts it."""


def broken(package: Path, copy: Path, fault: str) -> Path:
    shutil.copytree(package, copy)
    (SEALED | LATER)[fault](copy)
    return resealed(copy) if fault in SEALED else copy


def test_every_fault_has_a_package_that_shows_it() -> None:
    of_plain_models = {"bad_model", "missing_library"}  # tests/worker/model/backends has models that show them
    assert {*SEALED, *LATER, *of_plain_models, "failed_in_use", "not_there"} == set(FAULTS)


@pytest.mark.slow  # loads each package in a sandbox of its own
@pytest.mark.parametrize("fault", [*SEALED, *LATER])
def test_a_broken_package_is_refused_by_the_name_of_its_fault(model_package: Path, tmp_path: Path, fault: str) -> None:
    directory = broken(model_package, tmp_path / "broken", fault)
    trust = Trust(digests=frozenset({digest(directory / MANIFEST)} if fault in CODE else ()))
    demands = Demands(PIPELINE, 200, trust)
    with pytest.raises(PackageError) as caught:
        admit(read_package(directory), "2", demands, tmp_path / "cache")
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    "damage",
    [
        reference_with(lambda content: content["features"]["voltage_v"].update(missing=1e30)),
        reference_with(lambda content: content["features"]["voltage_v"]["counts"].__setitem__(0, -1)),
        reference_with(lambda content: content["combinations"].update(voltage_v=content["output"] | {"weights": {}})),
        reference_with(lambda content: content["features"]["voltage_v"]["edges"].reverse()),
        reference_with(lambda content: content["output"]["counts"].pop()),
        reference_with(lambda content: content["combinations"].update(odd=content["output"] | {"weights": {"hum": 1}})),
    ],
)
def test_a_training_reference_that_is_not_of_its_model_is_refused(
    model_package: Path, tmp_path: Path, damage: Damage
) -> None:
    """Later, in the middle of the stream, it would end the worker."""
    shutil.copytree(model_package, tmp_path / "broken")
    damage(tmp_path / "broken")
    with pytest.raises(PackageError, match=r"reference\.json") as caught:
        load_package(resealed(tmp_path / "broken"), version="2")
    assert caught.value.fault == "bad_metadata"


def no_golden_rows(package: Path) -> None:
    with np.load(package / "golden.npz") as golden:
        np.savez(package / "golden.npz", features=golden["features"][:0], probability=golden["probability"][:0])


@pytest.mark.parametrize(
    ("damage", "fault"), [(no_golden_rows, "bad_golden_rows"), (written("metrics.json", b"[1, 2]"), "bad_metadata")]
)
def test_a_package_that_proves_nothing_or_says_nonsense_of_itself_is_refused(
    model_package: Path, tmp_path: Path, damage: Damage, fault: str
) -> None:
    shutil.copytree(model_package, tmp_path / "broken")
    damage(tmp_path / "broken")
    with pytest.raises(PackageError) as caught:
        load_package(resealed(tmp_path / "broken"), version="2")
    assert caught.value.fault == fault


def await_refused(worker: Worker, fault: str) -> dict[str, Any]:
    """Wait until the watcher has refused a model for this fault; what it shows then."""

    def refused() -> dict[str, Any] | None:
        found: dict[str, Any] | None = shown(worker)["watch"]["refused"]
        return found if found and found["fault"] == fault else None

    found: dict[str, Any] = wait_until(refused, fault)
    return found


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_whatever_the_alias_comes_to_stand_for_scoring_goes_on(
    stage: Stage, models: Registry, model_package: Path, tmp_path: Path
) -> None:
    packages = {fault: broken(model_package, tmp_path / fault, fault) for fault in (*SEALED, *LATER)}
    packages["failed_in_use"] = changed(model_package, tmp_path / "failed", shift=0.1)
    versions = {fault: models.add(package, sound=False) for fault, package in packages.items()}
    failed = replace(load_package(packages["failed_in_use"], version=versions["failed_in_use"]), name="battery_hazard")
    ModelFailures(stage.directory / "cache").note(failed, "for this test")
    trust = ",".join(f"sha256:{digest(packages[fault] / MANIFEST)}" for fault in CODE)
    with models.worker(stage, model_trust=trust) as worker:
        published = 0
        for fault in (*packages, "not_there"):
            if fault == "not_there":
                models.remove_alias()
            else:
                models.point(versions[fault])
            stage.publish_readings(readings(published, 2))
            refused = await_refused(worker, fault)
            stage.publish_readings(readings(published + 2, 2))
            published += 4
            worker.await_scored(5 * published)
            assert refused["reason"]
            assert worker.metric("hazardstream_model_refused_total", reason=fault) == 1
            assert worker.metric("hazardstream_model_stale") == 1
            assert (ready := worker.get("/ready")) is not None
            assert ready.status_code == 200
        models.point("1")
        wait_until(lambda: shown(worker)["watch"]["refused"] is None, "the alias stands for what scores")
        assert worker.metric("hazardstream_model_stale") == 0
        tried = len(packages) + 1  # and "not_there"
        assert worker.metric("hazardstream_model_refused_total") == tried
        assert worker.metric("hazardstream_model_swaps_total") == 0
        assert worker.log.read_text().count("model refused") == tried
        assert worker.stop() == 0
    assert set(models.assert_each_prediction_is_its_versions(stage)) == {"1"}


def test_a_worker_that_starts_while_the_alias_stands_for_a_broken_one_uses_the_last_good(
    models: Registry, model_package: Path, tmp_path: Path
) -> None:
    where: Where = {"cache_directory": tmp_path / "cache", "tracking_uri": models.url}
    models.point(models.add(broken(model_package, tmp_path / "first", "digest_mismatch"), sound=False))
    with pytest.raises(RefusedModelError):
        resolve_or_last_good(models.uri, **where)
    models.point("1")
    resolve(models.uri, **where)
    models.point(models.add(broken(model_package, tmp_path / "second", "golden_rows_differ"), sound=False))
    with pytest.raises(RefusedModelError):
        resolve(models.uri, **where)
    with capture_logs() as logs:
        assert resolve_or_last_good(models.uri, **where).version == "1"
    assert [log["event"] for log in logs] == ["last good model used"]


def test_what_this_pipeline_cannot_use_does_not_become_the_last_good(
    models: Registry, model_package: Path, tmp_path: Path
) -> None:
    where: Where = {"cache_directory": tmp_path / "cache", "tracking_uri": models.url}

    demands = Demands(PIPELINE)
    resolve(models.uri, **where, demands=demands)
    models.point(models.add(changed(model_package, tmp_path / "second", per={"voltage_v": "parallel_strings"})))
    assert resolve_or_last_good(models.uri, **where, demands=demands).version == "1"
    assert resolve_or_last_good(models.uri, **where).version == "2"
