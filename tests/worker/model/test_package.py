"""A model package is used only if every file is the one that was sealed, and the golden rows score as they did."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.flagship import PIPELINE
from tests.models import resealed, with_booster, with_pickled_scaler
from worker.admission.dry_run import dry_run
from worker.model.contract import Features
from worker.model.package import MANIFEST, PackageError, digest, load_package
from worker.model.package_files import SCALER
from worker.model.shap import explain_rows

FILES = [
    "alarm.json",
    "booster.ubj",
    "features.json",
    "golden.npz",
    "metrics.json",
    "MLmodel",
    "model-card.md",
    "reference.json",
    "scaler.json",
]


@pytest.fixture
def package(model_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_package, tmp_path / "package"))


def test_a_complete_package_loads_and_scores_its_golden_rows(package: Path) -> None:
    model = load_package(package, version="7")
    golden = np.load(package / "golden.npz")
    np.testing.assert_allclose(model.score(golden["features"]), golden["probability"], atol=1e-6)
    assert model.version == "7"
    assert sorted(model.manifest.files) == sorted(FILES)


def test_golden_rows_cover_the_output_and_missing_values(package: Path) -> None:
    golden = np.load(package / "golden.npz")
    assert golden["probability"].min() < 0.05
    assert golden["probability"].max() > 0.95
    missing = np.isnan(golden["features"])
    assert missing.all(axis=1).any()
    assert (missing.any(axis=1) & ~missing.all(axis=1)).any()
    assert not missing.all(axis=0).any()


def test_a_score_does_not_depend_on_the_other_rows(package: Path) -> None:
    model = load_package(package, version="1")
    rows = np.load(package / "golden.npz")["features"]
    alone = np.concatenate([model.score(row[None]) for row in rows])
    np.testing.assert_array_equal(model.score(rows), alone)


def test_contributions_add_up_to_the_log_odds_but_for_a_constant(package: Path) -> None:
    model = load_package(package, version="1")
    rows = np.load(package / "golden.npz")["features"]
    probability = model.score(rows)
    telling = (probability > 1e-6) & (probability < 1 - 1e-4)  # beyond, a float32 has too few digits for its log-odds
    assert telling.any()
    rows, probability = rows[telling], probability[telling]
    rest = np.log(probability / (1 - probability)) - model.contributions(Features(rows, {}))[0].sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-2)


def test_numbers_that_the_scaler_puts_in_for_missing_values_are_scored_and_explained(package: Path) -> None:
    numbers = json.loads((package / SCALER).read_text())
    (package / SCALER).write_text(json.dumps(numbers | {"missing": [-1e6] * 30}))
    model = load_package(with_booster(package, {"objective": "binary:logistic"}), version="1")
    dry_run(model, PIPELINE)
    nothing = Features(np.full((1, 30), np.nan), {})

    probability = model.booster.inplace_predict(np.full((1, 30), -1e6))[0]
    (explained,) = explain_rows(model, nothing)

    assert model.predict(nothing).value[0] == probability
    total = sum(each.contribution for each in explained.contributions) + (explained.bias or 0.0)
    assert 1 / (1 + np.exp(-total)) == pytest.approx(probability, rel=1e-5)
    assert {each.value for each in explained.contributions} == {None}
    assert any(each.contribution for each in explained.contributions)


def test_features_beyond_single_precision_are_scored_and_explained(package: Path) -> None:
    """Where a field declares no range, one record brings them, and must not cost the model."""
    model = load_package(package, version="1")
    rows = np.repeat(np.load(package / "golden.npz")["features"][:1], 5, axis=0)
    largest = float(np.finfo(np.float32).max)
    rows[:, 0] = [1e39, np.inf, 1e300, -1e39, -np.inf]
    assert np.isfinite(model.score(rows)).all()
    parts, bias = model.contributions(Features(rows, {}))
    assert np.isfinite(parts).all()
    rows[:, 0] = [largest, largest, largest, -largest, -largest]
    same, same_bias = model.contributions(Features(rows, {}))
    np.testing.assert_array_equal(parts, same)
    np.testing.assert_array_equal(bias, same_bias)


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_was_altered_is_refused_by_name(package: Path, file: str) -> None:
    content = bytearray((package / file).read_bytes())
    content[len(content) // 2] ^= 1
    (package / file).write_bytes(content)
    with pytest.raises(PackageError, match=f"{file} was altered"):
        load_package(package, version="1")


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_missing_is_refused_by_name(package: Path, file: str) -> None:
    (package / file).unlink()
    with pytest.raises(PackageError, match=f"{file} is missing"):
        load_package(package, version="1")


@pytest.mark.parametrize("file", ["features.json", "golden.npz"])
def test_a_manifest_that_does_not_list_a_needed_file_is_refused(package: Path, file: str) -> None:
    (package / file).unlink()
    resealed(package)
    with pytest.raises(PackageError, match=f"{file} is not in the manifest"):
        load_package(package, version="1")


def test_a_scaler_that_the_manifest_no_longer_lists_is_missed_by_the_golden_rows(package: Path) -> None:
    (package / "scaler.json").unlink()
    with pytest.raises(PackageError) as caught:
        load_package(resealed(package), version="1")
    assert caught.value.fault == "golden_rows_differ"


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_code_in_a_scaler_does_not_run_although_its_digest_is_right(package: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with_pickled_scaler(package, Malicious(trace))
    with pytest.raises(PackageError, match="run its author's code") as caught:
        load_package(package, version="1")
    assert caught.value.fault == "untrusted"
    assert not trace.exists()


def test_it_runs_where_the_operator_trusts_its_maker(package: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with_pickled_scaler(package, Malicious(trace))
    with pytest.raises(PackageError, match="scaler"):
        load_package(package, version="1", trusted=True)
    assert trace.exists()


def test_nor_does_it_when_the_manifest_was_forged_too(package: Path, tmp_path: Path) -> None:
    registered = digest(package / MANIFEST)
    trace = tmp_path / "trace"
    with_pickled_scaler(package, Malicious(trace))
    with pytest.raises(PackageError, match="differs from the registered one"):
        load_package(package, version="1", expected_digest=registered)
    assert not trace.exists()


def test_golden_rows_that_score_differently_are_refused(package: Path) -> None:
    golden = dict(np.load(package / "golden.npz"))
    golden["probability"][3] = 1 - golden["probability"][3]
    np.savez(package / "golden.npz", **golden)
    resealed(package)
    with pytest.raises(PackageError, match="the scores of its golden rows differ"):
        load_package(package, version="1")


def test_golden_rows_of_other_features_are_refused(package: Path) -> None:
    golden = dict(np.load(package / "golden.npz"))
    golden["features"] = golden["features"][:, :-1]
    np.savez(package / "golden.npz", **golden)
    resealed(package)
    with pytest.raises(PackageError, match="29 features"):
        load_package(package, version="1")


def test_another_format_is_refused(package: Path) -> None:
    manifest = json.loads((package / MANIFEST).read_text())
    (package / MANIFEST).write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(PackageError, match="format 99"):
        load_package(package, version="1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_manifest_that_is_not_one_is_refused(package: Path, content: bytes) -> None:
    (package / MANIFEST).write_bytes(content)
    with pytest.raises(PackageError, match=r"manifest\.json cannot be read"):
        load_package(package, version="1")


def test_an_alarm_policy_that_contradicts_itself_is_refused(package: Path) -> None:
    policy = json.loads((package / "alarm.json").read_text())
    (package / "alarm.json").write_text(json.dumps(policy | {"deadband": 0.999}))
    resealed(package)
    with pytest.raises(PackageError, match="deadband"):
        load_package(package, version="1")
