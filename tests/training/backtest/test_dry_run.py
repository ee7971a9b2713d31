"""A dry run tells what the model could not judge, before anything is scored."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from producers.recordings.mapping import Mapping
from producers.recordings.rescaling import built_as_recorded
from tests.backtests import recording, saved
from tests.flagship import PIPELINE
from tests.models import resealed
from training.backtest.dry_run import understood
from training.backtest.run import BacktestOptions
from worker.model.assessable import ASSESSABLE
from worker.model.package import ModelPackage, load_package


@pytest.fixture(scope="module")
def judging(model_package: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    made = copytree(model_package, tmp_path_factory.mktemp("judging") / "package")
    cases = {"nmc": [2.5, 4.35], "lfp": [2.0, 3.62]}
    (made / ASSESSABLE).write_text(
        json.dumps({"ranges": [{"feature": "voltage_v", "by": "chemistry", "cases": cases}]})
    )
    return load_package(resealed(made), version="1")


@pytest.mark.parametrize(("chemistry", "warned"), [("nmc", False), ("lfp", True)])
def test_voltages_of_another_chemistry_are_told(
    judging: ModelPackage, tmp_path: Path, chemistry: str, warned: bool
) -> None:
    path = saved(recording(hours=0.1), tmp_path / "at_51_v.csv")
    mapping = Mapping(topology={"chemistry": chemistry})

    facts = understood(BacktestOptions([path], mapping), built_as_recorded(PIPELINE, mapping.topology), judging)

    told = [text for text in facts["warnings"] if "the model cannot judge" in text]
    assert bool(told) == warned
    assert all("36 of the first 36 readings (out of range: voltage_v: 36)" in text for text in told)
