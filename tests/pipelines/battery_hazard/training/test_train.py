"""Training is repeatable, and what it makes finds the faults."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from pipelines.battery_hazard.training.datasets.feature_set import MONOTONE
from pipelines.battery_hazard.training.datasets.features import HELD_OUT
from pipelines.battery_hazard.training.fitting.presets import SMALL
from pipelines.battery_hazard.training.fitting.train import prepare, silent, train
from pipelines.battery_hazard.training.fitting.write_package import TrainedModel, write_package
from tests.kept import kept_directory
from tests.models import TINIEST
from worker.model.package import MANIFEST, ModelPackage, load_package

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("train")]  # trains models
REPEATABLE = [
    "alarm.json",
    "booster.ubj",
    "features.json",
    "golden.npz",
    "metrics.json",
    "model-card.md",
    "reference.json",
    "scaler.json",
]


def digests(package: Path) -> dict[str, str]:
    files = json.loads((package / MANIFEST).read_text())["files"]
    return {name: files[name] for name in REPEATABLE}


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path, tiniest_data: Path) -> None:
    first = digests(train(tmp_path / "first", preset=TINIEST, data=tiniest_data))
    again = digests(train(tmp_path / "again", preset=TINIEST))
    other = digests(train(tmp_path / "other", preset=TINIEST, seed=4))
    assert first == again
    assert first["booster.ubj"] != other["booster.ubj"]


@pytest.fixture(scope="module")
def small_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = kept_directory("small-data", lambda directory: prepare(directory, SMALL, 0, silent))
    return train(tmp_path_factory.mktemp("small") / "package", preset=SMALL, data=data)


def test_the_model_warns_of_faults_on_sites_it_never_saw_minutes_ahead(small_package: Path) -> None:
    test = json.loads((small_package / "metrics.json").read_text())["test"]["modules"]
    assert test["events"] >= 7 * SMALL.faults  # each with seven sets of sensors; neighbours may catch fire
    assert test["slow_in_time_share"] > 0.5
    assert test["module_days"] > 5
    assert test["false_alarms"] < test["module_days"] / 2  # few validation days cannot promise less


def test_more_gas_or_heat_is_never_less_hazard(small_package: Path) -> None:
    package = load_package(small_package, version="1")
    rows = np.load(small_package / "golden.npz")["features"]
    for name, sign in MONOTONE.items():
        column = package.spec.names.index(name)
        known = rows[~np.isnan(rows[:, column])]
        more = known.copy()
        more[:, column] += 20
        assert (sign * (package.score(more) - package.score(known)) >= -1e-7).all(), name


def test_a_model_that_does_not_keep_to_its_signs_is_not_written(package: ModelPackage, tmp_path: Path) -> None:
    spec = package.spec.model_copy(update={"monotone": {"voltage_v": 1}})
    model = TrainedModel("m", spec, None, package.booster, package.policy, {}, "")
    with pytest.raises(UserError, match=r"may fall as voltage_v rises, .*monotone_constraints"):
        write_package(tmp_path / "package", model, package.golden, package.golden)
    assert not (tmp_path / "package").exists()


def test_the_card_says_what_was_kept_out_and_the_policy(small_package: Path) -> None:
    card = (small_package / "model-card.md").read_text()
    assert f"Kept out of training and validation: {HELD_OUT}" in card
    assert f"Setpoint {load_package(small_package, version='1').policy.setpoint}" in card


def test_the_card_names_where_limits_warn_earlier(small_package: Path) -> None:
    metrics = json.loads((small_package / "metrics.json").read_text())
    card = (small_package / "model-card.md").read_text()
    for kind in ("modules", "bench"):
        limits = metrics["thresholds"]["test"][kind]["slow_lead_by_mechanism"]
        for name, lead in metrics["test"][kind]["slow_lead_by_mechanism"].items():
            assert (f"| {kind} | {name.replace('/', ' | ')} |" in card) == (limits[name] > lead)


def test_figures_are_drawn(tmp_path: Path, tiniest_data: Path) -> None:
    train(tmp_path / "package", preset=TINIEST, data=tiniest_data, record=tmp_path / "record")
    names = {file.stem for file in (tmp_path / "record").iterdir()}
    assert names == {"curve", "precision-recall", "reliability", "confusion", "lead-times", "shap-summary"}


def test_no_file_is_left_beside_the_package_and_none_is_overwritten(tmp_path: Path, tiniest_data: Path) -> None:
    train(tmp_path / "package", preset=TINIEST, data=tiniest_data)
    assert [p.name for p in tmp_path.iterdir()] == ["package"]
    with pytest.raises(UserError, match="not empty"):
        train(tmp_path / "package", preset=TINIEST)


def test_the_package_is_bound_to_the_schema_of_the_readings(small_package: Path) -> None:
    manifest = load_package(small_package, version="1").manifest
    assert len(manifest.schema_fingerprint) == 16
    assert {"numpy", "scikit-learn", "xgboost"} == set(manifest.libraries)


def test_the_reference_counts_every_row_of_every_feature(small_package: Path) -> None:
    reference = json.loads((small_package / "reference.json").read_text())
    names = load_package(small_package, version="1").spec.names
    assert list(reference["features"]) == names
    for histogram in reference["features"].values():
        assert sum(histogram["counts"]) + histogram["missing"] == reference["rows"]
        assert sorted(set(histogram["edges"])) == histogram["edges"]
        assert len(histogram["counts"]) == max(1, len(histogram["edges"]) - 1)
