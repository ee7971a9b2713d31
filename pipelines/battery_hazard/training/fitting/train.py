"""Train the battery hazard model and write it as a complete model package."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xgboost

from common.errors import UserError
from pipelines.battery_hazard.training.datasets.dataset import (
    Progress,
    StoredSeries,
    claim,
    read_rows,
    site_file,
    write_sites,
)
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.datasets.features import HELD_OUT
from pipelines.battery_hazard.training.datasets.judged import ASSESSABLE
from pipelines.battery_hazard.training.datasets.labels import NORMAL
from pipelines.battery_hazard.training.datasets.series import Series
from pipelines.battery_hazard.training.evaluation.operator_metrics import Scored, evaluate_series, summary_by_kind
from pipelines.battery_hazard.training.fitting.calibration import (
    calibrated,
    kept_distinct,
    platt,
    recalibrated,
    reliability,
)
from pipelines.battery_hazard.training.fitting.card import model_card
from pipelines.battery_hazard.training.fitting.levels import highest_log_odds, levels_of
from pipelines.battery_hazard.training.fitting.models import Rows, Score, fit_boosting, scorer
from pipelines.battery_hazard.training.fitting.policy import choose_policy
from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SPLITS, Preset, Split, sites
from pipelines.battery_hazard.training.fitting.record import Record
from pipelines.battery_hazard.training.fitting.thresholds import Thresholds, tuned_thresholds
from pipelines.battery_hazard.training.fitting.write_package import TrainedModel, write_package
from worker.alarms.state_machine import AlarmPolicy
from worker.model.scaler import Scaler

_CURVE_ROWS, _REFERENCE_ROWS, _UNSEEN_ROWS = 50_000, 500_000, 100_000


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that is not shown."""


class Data(NamedTuple):
    """The datasets."""

    training: Rows
    validation: StoredSeries
    test: StoredSeries


@contextmanager
def directory_of(data: Path | None) -> Iterator[Path]:
    """The directory of the datasets: this one, or a temporary one."""
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="hazardstream-data-") as thrown_away:
        yield Path(thrown_away)


def prepare(directory: Path, preset: Preset, seed: int, progress: Progress) -> Data:
    """Read the datasets, and write those that do not exist yet.

    Args:
        directory: of the datasets, kept for later runs with the same preset and seed. Validation and test series are
            read from it whenever they are needed.
        preset: amount of data, and size of the model.
        seed: of everything.
        progress: called for each site.

    Raises:
        UserError: the directory holds datasets of another preset or seed.
    """
    claim(directory, [asdict(site) for split in SPLITS for site in sites(preset, split, seed)])
    files: dict[Split, tuple[Path, ...]] = {}
    for split in SPLITS:
        wanted = sites(preset, split, seed)
        thin = preset.thin if split == "training" else None
        write_sites(directory / split, wanted, thin=thin, stage=f"simulating: {split}", progress=progress)
        files[split] = tuple(site_file(directory / split, site) for site in wanted)
    return Data(read_rows(files["training"]), StoredSeries(files["validation"]), StoredSeries(files["test"]))


def score_all(score: Score, series: Iterable[Series]) -> list[Scored]:
    """Scores series; their features are float32, as in a dataset."""
    return [Scored(one.about, one.ts, one.label, score(one.features.astype(np.float64))) for one in series]


def train(
    output: Path,
    *,
    preset: Preset = DEFAULT,
    seed: int = 0,
    name: str = "battery_hazard",
    data: Path | None = None,
    record: Path | None = None,
    recorded: Rows | None = None,
    progress: Progress = silent,
) -> Path:
    """Simulate sites, train, calibrate, choose the alarm policy, measure, and write the package.

    Args:
        output: directory of the package; must not exist, or be empty. It is created atomically.
        preset: amount of data, and size of the model.
        seed: the same seed and preset give the same model, bit for bit.
        name: registered name of the model.
        data: directory that keeps the datasets, see `prepare`; None: a temporary one.
        record: directory for figures of the training; None: no figures.
        recorded: rows to train on in addition to the simulated ones; None: none.
        progress: called with the stage, how much of it is done, and the total.

    Returns:
        `output`.

    Raises:
        UserError: `output` is a directory that is not empty, or a file.
    """
    _require_empty(output)
    with directory_of(data) as directory:
        known = prepare(directory, preset, seed, progress)
        return _train(output, known, preset, seed, name, record, recorded, progress)


def _train(
    output: Path,
    known: Data,
    preset: Preset,
    seed: int,
    name: str,
    record: Path | None,
    recorded: Rows | None,
    progress: Progress,
) -> Path:
    if recorded is not None:
        known = known._replace(training=known.training.and_those_of(recorded))
    scaler, booster, validation, (slope, intercept), curve = _fit(known, preset, seed, progress)
    progress("choosing the alarm policy", 0, 1)
    score = scorer(scaler, booster)
    policy = choose_policy(validation, budget=preset.false_alarm_budget, levels=levels_of(score))
    baseline = tuned_thresholds(known.validation, budget=preset.false_alarm_budget)
    progress("choosing the alarm policy", 1, 1)
    test = score_all(score, known.test)
    metrics = {
        "test": measured(policy, test),
        "validation": measured(policy, validation),
        "thresholds": _measured_thresholds(baseline, known.test),
        "training": {
            **_row_counts(known.training, recorded),
            "seed": seed,
            "held_out_mechanism": HELD_OUT,
            "platt_slope": slope,
            "platt_intercept": intercept,
            **_flat(asdict(preset)),
        },
    }
    booster.set_param({"nthread": 1})
    card = model_card(name, policy, metrics)
    model = TrainedModel(name, FEATURES, scaler, booster, policy, metrics, card, ASSESSABLE)
    unseen = list(known.test.spread(_UNSEEN_ROWS))
    _write(output, model, known.training, unseen)
    if record is not None:
        from pipelines.battery_hazard.training.fitting.figures import draw  # noqa: PLC0415 - matplotlib is slow to import

        draw(Record(policy, test, curve, reliability(validation), unseen, scaler, booster), record)
    return output


class _Fitted(NamedTuple):
    """A calibrated model, its scores on the validation data, and its learning curve."""

    scaler: Scaler
    booster: xgboost.Booster
    validation: list[Scored]
    slope_and_intercept: tuple[float, float]
    curve: list[float]


def _fit(known: Data, preset: Preset, seed: int, progress: Progress) -> _Fitted:
    curve = Curve(progress, preset.boosting.rounds)
    scaler, booster = fit_boosting(
        known.training, preset.boosting, seed, watched=watched_rows(known.validation), callbacks=[curve]
    )
    raw = score_all(scorer(scaler, booster), known.validation)
    slope, intercept = kept_distinct(*platt(raw), highest_log_odds(scaler, booster))
    booster = calibrated(booster, slope, intercept)
    validation = [replace(one, probability=recalibrated(one.probability, slope, intercept)) for one in raw]
    return _Fitted(scaler, booster, validation, (slope, intercept), curve.values)


def _require_empty(output: Path) -> None:
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UserError(f"{output} is not empty; name a new directory, or remove it first")


def _write(output: Path, model: TrainedModel, training: Rows, unseen: Sequence[Series]) -> None:
    """Write the package to a temporary directory, and rename that."""
    normal = np.flatnonzero(training.target == 0)
    # Evenly spread rows are enough, and all of them would take much memory.
    normal = normal[:: -(-len(normal) // _REFERENCE_ROWS)]
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".package-") as unfinished:
        package = Path(unfinished) / "package"
        write_package(
            package,
            model,
            training.features[normal].astype(np.float64),
            np.concatenate([one.features for one in unseen]).astype(np.float64),
        )
        if output.is_dir():
            output.rmdir()
        shutil.move(package, output)


def _row_counts(training: Rows, recorded: Rows | None) -> dict[str, int]:
    return {
        "rows": len(training.target),
        "hazardous_rows": int(training.target.sum()),
        "recorded_rows": 0 if recorded is None else len(recorded.target),
    }


def _measured_thresholds(baseline: Thresholds, test: Iterable[Series]) -> dict[str, Any]:
    return {
        "limits": baseline.limits,
        "policy": baseline.policy.model_dump(),
        "test": measured(baseline.policy, score_all(baseline.score, test)),
    }


def measured(policy: AlarmPolicy, scored: Sequence[Scored]) -> dict[str, Any]:
    """The results of a policy on series of a dataset, separately for modules and single cells."""
    return summary_by_kind(evaluate_series(policy, one) for one in scored)


class Curve(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # xgboost is untyped
    """Reports the progress of boosting, and keeps the area under the precision-recall curve of each round."""

    def __init__(self, progress: Progress, rounds: int) -> None:
        self.values: list[float] = []
        self._progress, self._rounds = progress, rounds

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        """Called by XGBoost after each round; never stops the training."""
        self.values.append(round(float(evals_log["validation"]["aucpr"][-1]), 6))
        self._progress("boosting trees", epoch + 1, self._rounds)
        return False


def watched_rows(validation: StoredSeries) -> Rows:
    """Labelled validation rows: few, so that evaluating each round is cheap."""
    some = list(validation.spread(_CURVE_ROWS))
    target = np.concatenate([one.label for one in some]).astype(np.float32)
    rows = Rows(np.concatenate([one.features for one in some]), target, np.ones_like(target))
    return rows.at(target >= NORMAL)


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as parameters with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
