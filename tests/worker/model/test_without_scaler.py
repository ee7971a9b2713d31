"""A package without a scaler is a model like any other; trees need none."""

from pathlib import Path

import numpy as np
import pytest
import xgboost

from tests.flagship import PIPELINE
from tests.models import resealed, without_scaler
from worker.admission.admit import Demands
from worker.admission.source import resolve
from worker.model.archive import pack
from worker.model.contract import Features
from worker.model.package import ModelPackage, load_package
from worker.model.package_files import SCALER, PackageError, read_package
from worker.model.shap import explain_rows


@pytest.fixture
def package(model_package: Path, tmp_path: Path) -> Path:
    return without_scaler(model_package, tmp_path / "package")


def test_the_booster_gets_the_features_as_they_are(package: Path) -> None:
    model = load_package(package, version="1")
    booster = xgboost.Booster(model_file=str(package / "booster.ubj"))

    assert model.manifest.scaler is None
    assert model.scaled(model.golden) is model.golden
    np.testing.assert_array_equal(model.score(model.golden), booster.inplace_predict(model.golden, missing=np.nan))


def test_its_contributions_add_up_to_the_log_odds(package: Path) -> None:
    model = load_package(package, version="1")
    probability = model.score(model.golden)

    totals = [
        sum(c.contribution for c in row.contributions) + (row.bias or 0.0)
        for row in explain_rows(model, Features(model.golden, {}))
    ]

    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(totals))), probability, rtol=1e-5)


@pytest.mark.slow  # loads the model in a sandbox
def test_it_passes_the_check_in_the_sandbox_and_can_be_exported(package: Path, tmp_path: Path) -> None:
    demands, cache = Demands(PIPELINE, max_ms=2000), tmp_path / "cache"
    model = resolve(str(package), cache_directory=cache, demands=demands)
    assert isinstance(model, ModelPackage)
    pack(model, str(package), tmp_path / "exported")

    exported = resolve(str(tmp_path / "exported"), cache_directory=cache, demands=demands)

    assert (exported.version, exported.digest) == (model.version, model.digest)
    golden = Features(model.golden, {})
    np.testing.assert_array_equal(exported.predict(golden).value, model.predict(golden).value)


def test_a_scaler_that_was_lost_is_not_taken_for_none(model_package: Path, package: Path) -> None:
    (package / SCALER).write_bytes((model_package / SCALER).read_bytes())
    (resealed(package) / SCALER).unlink()

    with pytest.raises(PackageError) as caught:
        read_package(package)

    assert caught.value.fault == "missing_file"
