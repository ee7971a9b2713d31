"""From an Avro schema and one's own model to a pipeline that scores, without Python."""

import json
from pathlib import Path
from typing import Any

import mlflow.sklearn
import pytest
import yaml
from sklearn.ensemble import RandomForestRegressor

from tests.commands import Done, hazardstream
from tests.plain_models import NUMBERS, pump_rows, saved, wear
from worker.model.model_files import read_model_files

pytestmark = pytest.mark.slow  # loads models in a process of their own

PUMP: dict[str, Any] = {
    "type": "record",
    "name": "PumpReading",
    "fields": [
        {"name": "pump", "type": "string", "maxLength": 20},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "pressure_bar", "type": "double", "minimum": 0, "maximum": 40},
        {"name": "flow", "type": ["null", "float"], "default": None},
    ],
}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "Pump.avsc"
    file.write_text(json.dumps(PUMP))
    return file


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = pump_rows()
    forest = RandomForestRegressor(n_estimators=5, random_state=0).fit(rows[NUMBERS], wear(rows))
    directory = saved(
        mlflow.sklearn, forest, tmp_path / "forest", rows[NUMBERS], wear(rows), serialization_format="cloudpickle"
    )
    monkeypatch.setenv("HAZARDSTREAM_MODEL_TRUST", f"sha256:{read_model_files(directory, 'forest').digest}")
    return directory


def init(schema: Path | str, model: Path, *more: str) -> Done:
    return hazardstream("pipeline", "init", "pumps", "--schema", str(schema), "--model", str(model), *more)


def test_a_new_folder_runs_and_its_first_test_passes(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = init(schema, model, "--key", "pump", "--time", "at", "--field", "pressure=pressure_bar")
    assert made.returncode == 0, made.stderr
    assert sorted(file.name for file in Path("pumps").iterdir()) == ["PumpReading.avsc", "pipeline.yaml", "tests.yaml"]
    content = yaml.safe_load(Path("pumps/pipeline.yaml").read_text())
    assert content["task"] == "regression"
    assert content["features"] == [{"name": "pressure", "field": "pressure_bar"}, {"name": "flow", "field": "flow"}]
    tested = hazardstream("pipeline", "test", "pumps")
    assert (tested.returncode, "1 passed, 0 failed" in tested.stdout) == (0, True), tested.stdout


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ((), "the model takes 'pressure': record 'PumpReading' has no such field (did you mean 'pressure_bar'?)"),
        (("--field", "pressure"), "is not INPUT=FIELD"),
        (("--field", "force=flow"), "the model has no such input; it takes flow, pressure"),
        (("--field", "pressure=pressure_bar", "--key", "pmp"), "--key 'pmp': record 'PumpReading' has no such field"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = init(schema, model, *more)
    assert refused.returncode == 2
    assert text in " ".join(refused.stderr.split())
    assert not Path("pumps").exists()


def test_fields_of_types_that_are_not_read_get_a_value_in_the_first_test(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "string"}]}
    types = [
        {"type": "array", "items": "string"},
        {"type": "map", "values": "long"},
        "bytes",
        inner,
        ["int", "string"],
        {"type": "fixed", "name": "F", "size": 2},
    ]
    more = [{"name": f"f{at}", "type": avro} for at, avro in enumerate(types)]
    schema.write_text(json.dumps(PUMP | {"fields": [*PUMP["fields"], *more]}))
    made = init(schema, model, "--field", "pressure=pressure_bar")
    assert made.returncode == 0, made.stderr
    assert "&id" not in Path("pumps/tests.yaml").read_text()  # anchors, which nobody would write
    tested = hazardstream("pipeline", "test", "pumps")
    assert (tested.returncode, "1 passed, 0 failed" in tested.stdout) == (0, True), tested.stdout


def test_faults_name_the_users_own_file(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the directory in which the new one is made."""
    monkeypatch.chdir(tmp_path)
    fields = [{"name": "pump", "type": ["null", "string"], "default": None}, *PUMP["fields"][1:]]
    schema.write_text(json.dumps(PUMP | {"fields": fields}, indent=1))
    refused = init(schema, model, "--field", "pressure=pressure_bar", "--key", "pump")
    assert (refused.returncode, ".new-" in refused.stderr) == (2, False)
    assert f"input.key: {schema}:5: field 'pump' may be null, and a key may not; take null out of its type" in " ".join(
        refused.stderr.split()
    )


def test_a_schema_that_is_nowhere_and_a_folder_that_is_there_are_refused(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "there is no file 'Pumps.avsc'" in init("Pumps.avsc", model).stderr
    Path("pumps").mkdir()
    Path("pumps/mine").touch()
    assert "is not empty" in init(schema, model).stderr


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a b"])
def test_a_record_whose_name_is_a_path_writes_nothing(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    schema.write_text(json.dumps(PUMP | {"name": name}))
    before = sorted(tmp_path.rglob("*.avsc"))
    assert init(schema, model, "--field", "pressure=pressure_bar").returncode == 2
    assert sorted(tmp_path.rglob("*.avsc")) == before


def test_a_new_folder_is_trusted_and_finds_its_model_from_anywhere(
    schema: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init(schema, Path(model.name), "--field", "pressure=pressure_bar").returncode == 0
    monkeypatch.delenv("HAZARDSTREAM_MODEL_TRUST")
    monkeypatch.chdir("/")
    tested = hazardstream("pipeline", "test", str(tmp_path / "pumps"))
    assert tested.returncode == 0, tested.stdout + tested.stderr
