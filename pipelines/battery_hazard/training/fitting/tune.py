"""Tunes the boosted trees with Optuna. Bad trials are pruned, and an interrupted study continues where it stopped."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import optuna
import xgboost

from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.evaluation.operator_metrics import evaluate_series
from pipelines.battery_hazard.training.fitting.models import Balance, Boosting, fit_boosting, scorer
from pipelines.battery_hazard.training.fitting.policy import choose_policy
from pipelines.battery_hazard.training.fitting.presets import Preset
from pipelines.battery_hazard.training.fitting.train import Data, directory_of, prepare, score_all, watched_rows

_ROWS = 400_000
_REPORT_EVERY = 10
_ON_DELAY_MS = 20_000
_PRECISION_COUNTS = 0.01
"""Small: the area under the precision-recall curve decides only between trials with as many events in time."""


def tune(
    storage: Path,
    *,
    trials: int,
    data: Path | None,
    preset: Preset,
    seed: int,
    progress: Progress,
    name: str = "battery_hazard",
) -> optuna.Study:
    """Run a study until `trials` trials are finished.

    The value of a trial is the share of validation events that meet the bar within the false-alarm budget.

    Args:
        storage: SQLite file; an existing study of this name is continued.
        trials: total number of finished trials, including pruned ones.
        data: directory that keeps the datasets; None: a temporary one.
        preset: of the datasets, and of the parameters that are not tuned.
        seed: of the datasets and of the sampler.
        progress: called for each trial.
        name: of the study.
    """
    with directory_of(data) as directory:
        known = prepare(directory, preset, seed, progress)
        return _search(storage, known, name, trials=trials, preset=preset, seed=seed, progress=progress)


def _search(
    storage: Path, known: Data, name: str, *, trials: int, preset: Preset, seed: int, progress: Progress
) -> optuna.Study:
    some = np.random.default_rng([seed, 33]).permutation(len(known.training.target))[:_ROWS]
    rows = known.training.at(some)
    watched = watched_rows(known.validation)
    storage.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=f"sqlite:///{storage}",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=30),
    )
    if not study.trials:
        study.enqueue_trial({key: value for key, value in asdict(preset.boosting).items() if key != "rounds"})

    def objective(trial: optuna.Trial) -> float:
        boosting = proposed(trial, preset.boosting)
        follow = _Follow(trial)
        fitted = fit_boosting(rows, boosting, seed, watched=watched, callbacks=[follow])
        if follow.pruned:
            raise optuna.TrialPruned
        scored = score_all(scorer(*fitted), known.validation)
        policy = choose_policy(scored, budget=preset.false_alarm_budget, on_delays_ms=(_ON_DELAY_MS,))
        events = [e for one in scored if (e := evaluate_series(policy, one).event) is not None]
        met = sum(e.met for e in events) / len(events)
        trial.set_user_attr("met", met)
        return met + _PRECISION_COUNTS * follow.last

    done = len(_finished(study))
    progress("tuning", done, trials)
    while done < trials:
        study.optimize(objective, n_trials=1)
        done = len(_finished(study))
        progress("tuning", done, trials)
    return study


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [t for t in study.trials if t.state.is_finished()]


def proposed(trial: optuna.Trial, known: Boosting) -> Boosting:
    """The parameters that a trial proposes."""
    return replace(
        known,
        max_depth=trial.suggest_int("max_depth", 4, 9),
        learning_rate=trial.suggest_float("learning_rate", 0.03, 0.3, log=True),
        min_child_weight=trial.suggest_float("min_child_weight", 1.0, 200.0, log=True),
        subsample=trial.suggest_float("subsample", 0.4, 1.0),
        colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1.0),
        reg_lambda=trial.suggest_float("reg_lambda", 0.1, 30.0, log=True),
        gamma=trial.suggest_float("gamma", 0.0, 5.0),
        balance=cast("Balance", trial.suggest_categorical("balance", get_args(Balance))),
    )


def best_boosting(study: optuna.Study, preset: Preset) -> Boosting:
    """The parameters of the best trial."""
    return replace(preset.boosting, **study.best_params)


class _Follow(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # xgboost is untyped
    """Reports each round to the trial, and stops a trial that is pruned."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.last, self.pruned = 0.0, False
        self._trial = trial

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
        """Called by XGBoost after each round."""
        self.last = float(evals_log["validation"]["aucpr"][-1])
        if epoch % _REPORT_EVERY:
            return False
        self._trial.report(self.last, epoch)
        self.pruned = bool(self._trial.should_prune())
        return self.pruned
