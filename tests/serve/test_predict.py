"""What `POST /v1/predict` gives: the predictions of a worker."""

from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from starlette.testclient import TestClient

from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.harness import avro
from tests.plain_models import loaded, saved
from tests.serve.conftest import Start
from worker.model.contract import Task
from worker.model.package import ModelPackage
from worker.score.batch import Batch
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

SENSORS = ["voltage_v", "current_a"]


def post(api: TestClient, body: Any, path: str = "/v1/predict", **headers: str) -> Any:
    answer = api.post(path, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def scored_by_a_worker(package: ModelPackage, readings: list[dict[str, Any]]) -> list[float]:
    """The worker's probabilities, message by message."""
    scorer = scorer_of(PIPELINE, package, package.policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    partitions, found = {0: Partition(0, 0, 0)}, []
    scorer.alarms.assign(0, {})
    for at, each in enumerate(readings):
        zero = np.zeros(1, np.int64)
        outcome = scorer.process(
            Batch([each["module_id"].encode()], [avro(each)], zero, zero + at, zero + each["ts"], zero), partitions
        )
        scorer.merge(outcome, partitions)
        found += outcome.scored.probability.tolist()
    return found


def test_readings_get_the_probabilities_of_a_worker_bit_for_bit(
    api: TestClient, package: ModelPackage, history: list[dict[str, Any]]
) -> None:
    found = post(api, {"readings": history})["predictions"]

    assert [each["probability"] for each in found] == scored_by_a_worker(package, history)
    assert [each["row"] for each in found] == list(range(len(history)))
    assert found[-1] | {"probability": 0} == {
        "row": 35,
        "module_id": "M2",
        "rack_id": "Rack1",
        "ts": history[-1]["ts"],
        "readings_in_window": 18,
        "imputed": [],
        "masked": [],
        "probability": 0,
        "positive": found[-1]["probability"] >= package.policy.setpoint,
        "threshold": package.policy.setpoint,
    }


def test_only_the_last_reading_of_each_key(api: TestClient, history: list[dict[str, Any]]) -> None:
    each = post(api, {"readings": history})["predictions"]
    last = post(api, {"readings": history, "predict": "last"})["predictions"]

    assert last == each[-2:]


def test_one_request_leaves_nothing_to_the_next(api: TestClient, history: list[dict[str, Any]]) -> None:
    first, again = (post(api, {"readings": history})["predictions"] for _ in range(2))

    assert first == again


def test_rows_of_finished_features(api: TestClient, package: ModelPackage) -> None:
    names = package.spec.names
    rows = [{n: v for n, v in zip(names, row, strict=True) if not np.isnan(v)} for row in package.golden[:20].tolist()]
    found = post(api, {"rows": rows, "explain": True})["predictions"]

    np.testing.assert_array_equal([each["probability"] for each in found], package.score(package.golden[:20]))
    sums = [each["bias"] + sum(each["contributions"].values()) for each in found]
    log_odds = [np.log(each["probability"] / (1 - each["probability"])) for each in found]
    np.testing.assert_allclose(sums, log_odds, atol=1e-3)


def test_the_worker_masks_an_impossible_value_and_so_does_this(api: TestClient, history: list[dict[str, Any]]) -> None:
    hot = history[0] | {"max_surface_temp_c": 90_000.0, "voltage_v": None}

    (found,) = post(api, {"readings": [hot]})["predictions"]

    assert found["masked"] == ["max_surface_temp_c"]


def test_aliases_iso_times_and_duplicates(api: TestClient, history: list[dict[str, Any]]) -> None:
    first = history[0]
    old = {"Module_ID": "M1", "rack_id": "Rack1", "Timestamp": "2026-01-31T12:00:00Z", "voltage_v": 51}

    found = post(api, {"readings": [old, first, first]})["predictions"]

    assert [each["row"] for each in found] == [0, 1]  # the third is the second again
    assert found[0]["ts"] == 1_769_860_800_000


def test_a_multiclass_model(start: Start, tmp_path: Path, history: list[dict[str, Any]]) -> None:
    rows = pd.DataFrame({"voltage_v": np.linspace(40, 60, 60), "current_a": np.tile([-5.0, 0.0, 5.0], 20)})
    states = np.tile(["discharging", "idle", "charging"], 20)
    forest = RandomForestClassifier(5, random_state=0).fit(rows, states)
    saved(mlflow.sklearn, forest, tmp_path / "m", rows, forest.predict(rows), serialization_format="cloudpickle")
    api = start(loaded(tmp_path / "m", trusted=True), Task.MULTICLASS)

    (found,) = post(api, {"rows": [{"voltage_v": 50.0, "current_a": 5.0}]})["predictions"]

    assert found["predicted_class"] == "charging"
    assert found["probability"] == found["probabilities"]["charging"] == 1.0
    assert {each["predicted_class"] for each in post(api, {"readings": history})["predictions"]} == {"charging"}


def test_a_regression_model(start: Start, tmp_path: Path, history: list[dict[str, Any]]) -> None:
    rows = pd.DataFrame({"voltage_v": np.linspace(40, 60, 60), "current_a": np.tile([-5.0, 0.0, 5.0], 20)})
    line = LinearRegression().fit(rows, rows.voltage_v * rows.current_a)
    saved(mlflow.sklearn, line, tmp_path / "m", rows, line.predict(rows))
    api = start(loaded(tmp_path / "m", trusted=True), Task.REGRESSION)

    by_row = post(api, {"rows": [{s: r[s] for s in SENSORS} for r in history]})["predictions"]
    by_reading = post(api, {"readings": history})["predictions"]

    given = pd.DataFrame(history)[SENSORS]
    np.testing.assert_allclose([each["value"] for each in by_row], line.predict(given), rtol=1e-12)
    assert [each["value"] for each in by_reading] == [each["value"] for each in by_row]
    assert by_row[0]["error_band"] is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", lambda h, _: {"readings": h}),
        ("/batch_predict", lambda h, _: {"instances": h[-1:]}),
        ("/predict", lambda _, row: row),
        ("/predict", lambda _, row: {"user_id": "u1", "features": row}),
        ("/batch_predict", lambda _, row: {"instances": [row, row]}),
        ("/batch_predict", lambda _, row: {"data": [row]}),
        ("/batch_predict", lambda _, row: {"data": [list(row.values())]}),
        ("/predict", lambda _, row: {"data": list(row.values())}),
    ],
    ids=["readings", "instances of readings", "flat", "features", "instances", "data", "lists", "one list"],
)
def test_older_request_shapes(
    api: TestClient, package: ModelPackage, history: list[dict[str, Any]], path: str, body: Any
) -> None:
    row = dict(zip(package.spec.names, np.nan_to_num(package.golden[0]).tolist(), strict=True))
    given = body(history, row)

    found = post(api, given, path)

    assert (found["model_name"], found["model_version"]) == (package.name, package.version)
    first = found["predictions"][0] if "predictions" in found and path == "/batch_predict" else found
    if "readings" in given:
        assert len(found["predictions"]) == 2  # the last reading of each of the two modules
        return
    assert first["prediction"] in (0, 1)
    if "instances" in given and "module_id" in given["instances"][0]:
        assert first["module_id"] == "M2"
    else:
        assert first["probability"] == package.score(np.array([list(row.values())]))[0]
    assert found.get("user_id") == given.get("user_id")
