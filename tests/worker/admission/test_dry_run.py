"""A model is used only where scores, explanations, alarms and records come out for every row that may come."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import xgboost

from tests.activity import Weighted, activity_model, activity_pipeline
from tests.flagship import PIPELINE
from tests.models import resealed, with_booster
from worker.admission.admit import Demands, admit, note, passed_note
from worker.admission.dry_run import dry_run
from worker.model.contract import Features, ModelFailedError, Prediction
from worker.model.package import ModelPackage, load_package
from worker.model.package_files import SCALER, PackageError, read_package

COLUMNS = 30


@pytest.fixture
def package(model_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_package, tmp_path / "package"))


def checked(package: Path) -> ModelPackage:
    model = load_package(package, version="1")
    dry_run(model, PIPELINE)
    return model


def test_the_shipped_model_passes(package: Path) -> None:
    checked(package)


@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_trees_of_any_kind_pass(package: Path, booster: str) -> None:
    checked(with_booster(package, {"objective": "binary:logistic", "booster": booster, "rate_drop": 0.5}))


@pytest.mark.parametrize("base_score", [1e-12, 0.999999])
def test_an_odd_base_score_that_is_a_probability_passes(package: Path, base_score: float) -> None:
    checked(with_booster(package, {"objective": "binary:logistic", "base_score": base_score}))


@pytest.mark.parametrize(
    ("parameters", "data"),
    [
        ({"objective": "reg:squarederror"}, {"label": np.full(64, 40.0)}),
        ({"objective": "reg:squarederror"}, {}),
        ({"objective": "multi:softprob", "num_class": 3}, {}),
        ({"objective": "multi:softmax", "num_class": 2}, {}),
        ({"objective": "binary:logitraw"}, {}),
        ({"objective": "binary:hinge"}, {}),
        ({"objective": "rank:pairwise"}, {"qid": np.repeat(np.arange(8), 8)}),
        ({"objective": "count:poisson"}, {}),
        ({"objective": "reg:gamma"}, {"label": np.full(64, 2.0)}),
        ({"objective": "survival:cox"}, {"label": np.arange(1.0, 65.0)}),
        (
            {"objective": "survival:aft"},
            {"label_lower_bound": np.ones(64), "label_upper_bound": np.full(64, np.inf)},
        ),
    ],
    ids=lambda value: value.get("objective", "") if isinstance(value, dict) else None,
)
def test_another_task_is_refused_by_name(package: Path, parameters: dict[str, Any], data: dict[str, Any]) -> None:
    with_booster(package, parameters, **data)
    with pytest.raises(PackageError, match=f"objective is {parameters['objective']}.*binary:logistic") as caught:
        checked(package)
    assert caught.value.fault == "wrong_output"


def test_a_linear_model_is_refused(package: Path) -> None:
    with_booster(package, {"objective": "binary:logistic"})
    rows = np.random.default_rng(1).normal(size=(64, COLUMNS))
    linear = {"objective": "binary:logistic", "booster": "gblinear", "nthread": 1}
    xgboost.train(linear, xgboost.DMatrix(rows, np.arange(64) % 2), 2).save_model(package / "booster.ubj")
    with pytest.raises(PackageError, match="gblinear"):
        reread(package)


def reread(package: Path) -> ModelPackage:
    return checked(resealed(package))


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        (COLUMNS - 1, {}, "trained on 29 features"),
        (COLUMNS + 3, {}, "trained on 33 features"),
        (COLUMNS, {"feature_names": [f"f{i}" for i in range(COLUMNS)]}, "its column 0 is 'f0'"),
        (COLUMNS, {"feature_types": ["c"] * COLUMNS, "enable_categorical": True}, "categories"),
    ],
)
def test_other_features_are_refused(package: Path, columns: int, options: dict[str, Any], words: str) -> None:
    rows = np.floor(4 * np.random.default_rng(1).random((200, columns)))
    matrix = xgboost.DMatrix(rows, rows[:, 0] > 1, **options)
    parameters = {"objective": "binary:logistic", "max_cat_to_onehot": 1, "nthread": 1}
    booster = xgboost.train(parameters, matrix, 3)
    booster.save_model(package / "booster.ubj")
    with pytest.raises(PackageError, match=words) as caught:
        reread(package)
    assert caught.value.fault == "wrong_output"


def test_splits_by_category_are_found_although_the_types_of_features_are_not_given(package: Path) -> None:
    rows = np.floor(4 * np.random.default_rng(1).random((200, COLUMNS)))
    matrix = xgboost.DMatrix(rows, rows[:, 0] > 1, feature_types=["c"] * COLUMNS, enable_categorical=True)
    booster = xgboost.train({"objective": "binary:logistic", "max_cat_to_onehot": 1, "nthread": 1}, matrix, 3)
    booster.feature_types = None
    booster.save_model(package / "booster.ubj")
    with pytest.raises(PackageError, match="categories"):
        reread(package)


def test_features_in_another_order_are_refused(package: Path) -> None:
    names = load_package(package, version="1").spec.names
    swapped = [names[1], names[0], *names[2:]]
    with_booster(package, {"objective": "binary:logistic"}, feature_names=swapped)
    with pytest.raises(PackageError, match="in this order"):
        checked(package)


def test_a_booster_of_a_newer_xgboost_says_so(package: Path) -> None:
    content = (package / "booster.ubj").read_bytes()
    at = content.rindex(b"version[#L") + len(b"version[#L") + 8
    newer = content[:at] + b"i\x63i\x01i\x00" + content[at + 6 :]
    (package / "booster.ubj").write_bytes(newer.replace(b"gradient_booster", b"gradient_roosted"))
    with pytest.raises(PackageError, match=r"XGBoost 99\.1 has written it") as caught:
        reread(package)
    assert caught.value.fault == "bad_booster"


def without_values_no_number(package: Path) -> None:
    """In one tree, the leaf that a row without values comes to has none. Golden rows that see it are left out."""
    text = bytes(xgboost.Booster(model_file=str(package / "booster.ubj")).save_raw("json"))
    with np.load(package / "golden.npz") as golden:
        rows = golden["features"][~np.isnan(golden["features"]).any(axis=1)]
    for at in range(100):
        model = json.loads(text)
        tree = model["learner"]["gradient_booster"]["model"]["trees"][at]
        node = 0
        while tree["left_children"][node] >= 0:
            node = tree["left_children" if tree["default_left"][node] else "right_children"][node]
        tree["split_conditions"][node] = tree["base_weights"][node] = float("nan")
        booster = xgboost.Booster()
        booster.load_model(bytearray(json.dumps(model).encode()))
        given = np.asarray(booster.inplace_predict(load_scaler(package)(rows), missing=np.nan), np.float64)
        if (fine := np.isfinite(given)).any():
            booster.save_model(package / "booster.ubj")
            np.savez(package / "golden.npz", features=rows[fine], probability=given[fine])
            return
    pytest.fail("all golden rows see that leaf in all trees")


def load_scaler(package: Path) -> Callable[[Any], Any]:
    from worker.model.scaler import read_scaler  # noqa: PLC0415 - for one use

    return read_scaler((package / SCALER).read_bytes(), COLUMNS)


def test_a_row_without_values_that_gives_no_number_is_found_although_no_golden_row_shows_it(package: Path) -> None:
    without_values_no_number(package)
    load_package(resealed(package), version="1")
    with pytest.raises(PackageError, match="between 0 and 1") as caught:
        checked(package)
    assert caught.value.fault == "wrong_output"


@pytest.mark.parametrize(
    ("step", "number", "words"), [("divide", 1e-320, "turns .* into -?inf"), ("multiply", 1e308, "into -?inf")]
)
def test_a_scaler_that_makes_infinities_is_found(package: Path, step: str, number: float, words: str) -> None:
    numbers = json.loads((package / SCALER).read_text()) | {step: [number] * COLUMNS}
    (package / SCALER).write_text(json.dumps(numbers))
    with np.load(package / "golden.npz") as golden:  # the last row has no values, which no scaler changes
        np.savez(package / "golden.npz", features=golden["features"][-1:], probability=golden["probability"][-1:])
    load_package(resealed(package), version="1")
    with pytest.raises(PackageError, match=words) as caught:
        checked(package)
    assert caught.value.fault == "bad_scaler"


def test_a_name_that_no_record_can_hold_is_found(package: Path) -> None:
    manifest = resealed(package, name="hazard\ud800")
    with pytest.raises(PackageError):
        checked(manifest)


def test_figures_that_cannot_be_shown_are_found(package: Path) -> None:
    (package / "metrics.json").write_text('{"recall": NaN}')
    with pytest.raises(PackageError) as caught:
        reread(package)
    assert caught.value.fault == "bad_metadata"


def broken_trees(package: Path) -> None:
    """Children that lie outside of their tree: XGBoost does not look where it goes."""
    booster = xgboost.Booster(model_file=str(package / "booster.ubj"))
    model = json.loads(bytes(booster.save_raw("json")))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        tree["left_children"][0] = 2**30
        tree["right_children"][0] = 2**30
    (package / "booster.ubj").write_bytes(json.dumps(model).encode())


@pytest.mark.slow  # a process that crashes
def test_what_crashes_xgboost_is_a_refusal(package: Path, tmp_path: Path) -> None:
    broken_trees(package)
    resealed(package)
    with pytest.raises(PackageError) as caught:
        admit(read_package(package), "1", Demands(PIPELINE), tmp_path)
    assert caught.value.fault in {"crashes", "bad_booster"}


def test_a_model_that_passed_is_not_tried_again(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(
        "worker.admission.admit.load_in_sandbox", lambda contents, *_, **__: tried.append(contents.digest)
    )
    contents = read_package(package)
    for version in ("1", "1", "2"):
        admit(contents, version, Demands(PIPELINE), tmp_path)
    assert tried == [contents.digest] * 2


def test_a_model_that_passed_is_used_on_a_busy_machine(package: Path, tmp_path: Path) -> None:
    contents = read_package(package)
    note(passed_note(tmp_path, contents, "1", PIPELINE, trusted=False))
    with structlog.testing.capture_logs() as logged:
        assert admit(contents, "1", Demands(PIPELINE, max_ms=0), tmp_path).version == "1"
    assert "HAZARDSTREAM_MODEL_MAX_MS allows 0 ms" in logged[0]["reason"]


@pytest.mark.parametrize("given", [np.nan, -0.1, 1.5, np.inf])
def test_what_is_no_probability_is_a_failure_when_it_is_scored(package: Path, given: float) -> None:
    class Strange:
        def inplace_predict(self, rows: Any, **_: Any) -> Any:
            return np.full(len(rows), given, np.float32)

    model = load_package(package, version="7")
    object.__setattr__(model, "booster", Strange())
    with pytest.raises(ModelFailedError, match="between 0 and 1") as caught:
        model.score(model.golden)
    assert caught.value.model is model


class Brittle(Weighted):
    """It fails on a value of one input that its author did not think of."""

    def predict(self, features: Features) -> Prediction:
        values = features.numbers[:, self.numeric.index(self.version)]
        failing = {"since_login": values > 0, "minutes_7d": np.isnan(values), "days_30d": values > 5}
        if failing[self.version].any():
            raise ModelFailedError(self, f"{self.version} is new to it")
        return super().predict(features)


@pytest.mark.parametrize("aggregate", ["since_login", "minutes_7d", "days_30d"])
def test_a_model_that_fails_on_aggregates_is_found_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aggregate: str
) -> None:
    pipeline = activity_pipeline(tmp_path / "activity")
    sound = activity_model(pipeline)
    rows = Features(np.zeros((3, len(sound.inputs))), {})
    monkeypatch.setattr("worker.admission.dry_run.sample_rows", lambda _model: rows)
    dry_run(sound, pipeline)

    with pytest.raises(PackageError, match=f"{aggregate} is new to it"):
        dry_run(Brittle(**vars(sound) | {"version": aggregate}), pipeline)
