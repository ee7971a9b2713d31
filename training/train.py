"""Train the battery hazard model and write it as a complete model package."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from sklearn.preprocessing import StandardScaler

from training.battery import FEATURES
from training.dataset import HAZARD, NORMAL, LabelledFleet, simulate_fleet
from training.evaluate import choose_policy, operator_metrics
from training.write_package import TrainedModel, write_package
from worker.errors import UserError
from worker.features import Float

_THREADS = 2
"""Fixed: XGBoost sums gradients thread by thread, so another number would give other last bits."""


@dataclass(frozen=True)
class Preset:
    """How much is simulated and how large the model is.

    Attributes:
        training, validation, test: number of fleets of each.
        modules, faults, healthy, hours: of each fleet (see `simulate_fleet`).
        normal_every: of the normal readings in training, each so-many-th is used; neighbours are nearly alike.
        rounds, max_depth, learning_rate: of the boosted trees.
    """

    training: int
    validation: int
    test: int
    modules: int
    faults: int
    healthy: int
    hours: float
    normal_every: int
    rounds: int
    max_depth: int
    learning_rate: float


DEFAULT = Preset(
    training=24,
    validation=8,
    test=8,
    modules=320,
    faults=24,
    healthy=48,
    hours=6,
    normal_every=5,
    rounds=200,
    max_depth=5,
    learning_rate=0.1,
)
SMALL = Preset(
    training=5,
    validation=2,
    test=1,
    modules=240,
    faults=16,
    healthy=30,
    hours=3,
    normal_every=2,
    rounds=80,
    max_depth=4,
    learning_rate=0.2,
)

Progress = Callable[[str, int, int], None]


def train(
    output: Path,
    *,
    preset: Preset = DEFAULT,
    seed: int = 0,
    name: str = "battery_hazard",
    progress: Progress = lambda _stage, _done, _total: None,
) -> Path:
    """Simulate fleets, train, choose the alarm policy, measure, and write the package.

    Args:
        output: directory of the package; must not exist, or be empty. It appears whole or not at all.
        preset: how much.
        seed: same seed and preset, same model, bit for bit.
        name: registered name of the model.
        progress: told of each stage, how much of it is done and out of how much.

    Returns:
        `output`.

    Raises:
        UserError: `output` is a directory with something in it, or a file.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UserError(f"{output} is not empty; name a new directory, or remove it first")
    total = preset.training + preset.validation + preset.test
    fleets = []
    for number in range(total):
        progress("simulating fleets", number, total)
        fleets.append(_simulate(preset, seed * 10_000 + number))
    progress("simulating fleets", total, total)
    first_test = preset.training + preset.validation
    training, validation, test = fleets[: preset.training], fleets[preset.training : first_test], fleets[first_test:]

    features, target = training_rows(training, preset.normal_every)
    scaler = StandardScaler().fit(features)
    booster = _boost(scaler.transform(features), target, preset, seed, progress)

    def score(fleet: LabelledFleet) -> Float:
        return np.asarray(booster.inplace_predict(scaler.transform(fleet.features), missing=np.nan), np.float64)

    policy = choose_policy(validation, [score(f) for f in validation])
    metrics: dict[str, Any] = {
        "test": operator_metrics(policy, test, [score(f) for f in test]),
        "validation": operator_metrics(policy, validation, [score(f) for f in validation]),
        "training": {"rows": len(target), "hazardous_rows": int(target.sum()), "seed": seed, **asdict(preset)},
    }
    model = TrainedModel(name, FEATURES, scaler, booster, policy, metrics)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".package-") as unfinished:
        package = Path(unfinished) / "package"
        write_package(package, model, features[target == 0], np.concatenate([f.features for f in test]))
        if output.is_dir():
            output.rmdir()
        shutil.move(package, output)
    return output


def _simulate(preset: Preset, seed: int) -> LabelledFleet:
    return simulate_fleet(
        seed, modules=preset.modules, faults=preset.faults, healthy=preset.healthy, hours=preset.hours
    )


def training_rows(fleets: list[LabelledFleet], normal_every: int) -> tuple[Float, Float]:
    """Features [n, f] and target [n] (0 or 1): all hazardous readings, each `normal_every`-th normal one."""
    features, target = [], []
    for fleet in fleets:
        # Readings are in order of time, a step of all modules after the other: thin out by module, not across them.
        order = np.argsort(fleet.key, kind="stable")
        thinned = np.zeros(len(order), np.bool_)
        thinned[order[::normal_every]] = True
        chosen = (fleet.label == HAZARD) | ((fleet.label == NORMAL) & thinned)
        features.append(fleet.features[chosen])
        target.append(fleet.label[chosen].astype(np.float64))
    return np.concatenate(features), np.concatenate(target)


def _boost(scaled: Float, target: Float, preset: Preset, seed: int, progress: Progress) -> xgboost.Booster:
    class Report(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # xgboost is untyped
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            progress("boosting trees", epoch + 1, preset.rounds)
            return False

    data = xgboost.QuantileDMatrix(scaled, target, missing=np.nan, nthread=_THREADS)
    parameters = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": preset.max_depth,
        "learning_rate": preset.learning_rate,
        "min_child_weight": 20,
        "subsample": 0.7,
        "colsample_bytree": 0.6,
        # Half-way (geometrically) between the classes as they occur and classes of equal weight.
        "scale_pos_weight": float(np.sqrt((target == 0).sum() / target.sum())),
        "seed": seed,
        "nthread": _THREADS,
    }
    booster = xgboost.train(parameters, data, preset.rounds, callbacks=[Report()])
    booster.set_param({"nthread": 1})
    return booster
