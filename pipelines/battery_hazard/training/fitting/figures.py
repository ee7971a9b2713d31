"""Figures of a training, as PNG files: curve, reliability, confusion, lead times, and SHAP summary."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xgboost

mpl.use("Agg")
from matplotlib import pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix, precision_recall_curve

from common.arrays import Float
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES
from pipelines.battery_hazard.training.evaluation.operator_metrics import evaluate_series
from pipelines.battery_hazard.training.fitting.calibration import labelled
from pipelines.battery_hazard.training.fitting.record import Record

_SHAP_ROWS = 1000
_SHOWN = 20


def draw(record: Record, directory: Path) -> None:
    """Draw all figures into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, figure in (
        ("curve", _curve),
        ("precision-recall", _precision_recall),
        ("reliability", _reliability),
        ("confusion", _confusion),
        ("lead-times", _lead_times),
        ("shap-summary", _shap_summary),
    ):
        made, axis = plt.subplots(figsize=(7, 6 if name == "shap-summary" else 4.5), layout="constrained")
        figure(record, axis)
        made.savefig(directory / f"{name}.png", dpi=110, metadata={"Software": None})
        plt.close(made)


def _curve(record: Record, axis: Any) -> None:
    axis.plot(np.arange(1, len(record.curve) + 1), record.curve)
    axis.set(xlabel="round", ylabel="area under precision-recall", title="Validation readings")


def _precision_recall(record: Record, axis: Any) -> None:
    probability, target = labelled(record.test)
    precision, recall, _ = precision_recall_curve(target, probability)
    every = max(1, len(precision) // 2000)
    axis.plot(recall[::every], precision[::every])
    axis.set(xlabel="recall", ylabel="precision", title="Test readings (nuisances 20 times as often as in operation)")


def _reliability(record: Record, axis: Any) -> None:
    predicted = np.array(record.reliability["predicted"])
    observed = np.array(record.reliability["observed"])
    seen = observed > 0
    low = min(predicted[seen].min(initial=1e-3), 1e-3)
    axis.plot([low, 1], [low, 1], color="grey", linewidth=0.8)
    axis.plot(predicted[seen], observed[seen], marker="o")
    axis.set(xscale="log", yscale="log", xlabel="predicted probability", ylabel="share of hazardous readings")
    axis.set_title("Reliability on validation readings, after calibration")


def _confusion(record: Record, axis: Any) -> None:
    probability, target = labelled(record.test)
    matrix = confusion_matrix(target > 0, probability >= record.policy.setpoint)
    ConfusionMatrixDisplay(matrix, display_labels=["normal", "hazard"]).plot(
        ax=axis, colorbar=False, values_format=",d"
    )
    axis.set_title("Test readings at the setpoint (alarms count, not these: see lead times)")


def _lead_times(record: Record, axis: Any) -> None:
    events = [v.event for v in (evaluate_series(record.policy, one) for one in record.test) if v.event is not None]
    for mechanism in sorted({e.mechanism for e in events}):
        lead = np.sort([max(e.lead_s or 0.0, 0.0) / 60 for e in events if e.mechanism == mechanism])
        axis.step(lead, 1 - np.arange(len(lead)) / len(lead), where="post", label=mechanism)
    axis.axvline(5, color="black", linewidth=0.8)
    axis.set(
        xlabel="minimum warning time, minutes",
        ylabel="share of events",
        title="Lead times on test sites",
        xscale="symlog",
        xlim=(0, None),
    )
    axis.legend(loc="lower left", fontsize=8)


def shap_values(record: Record) -> tuple[Float, Float]:
    """Features and SHAP contributions of some test rows, half of them hazardous, [r, f] each."""
    features = np.concatenate([one.features for one in record.unseen]).astype(np.float64)
    target = np.concatenate([one.label for one in record.unseen])
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(target == kind))[: _SHAP_ROWS // 2] for kind in (0, 1)])
    matrix = xgboost.DMatrix(record.scaler.scale(features.shape[1])(features[rows]), missing=np.nan, nthread=1)
    return features[rows], np.asarray(record.booster.predict(matrix, pred_contribs=True), np.float64)[:, :-1]


def _shap_summary(record: Record, axis: Any) -> None:
    features, parts = shap_values(record)
    order = np.argsort(np.abs(parts).mean(axis=0))[-_SHOWN:]
    rng = np.random.default_rng(0)
    for place, column in enumerate(order.tolist()):
        rank = features[:, column].argsort().argsort() / max(len(features), 1)
        rank = np.where(np.isnan(features[:, column]), np.nan, rank)
        axis.scatter(
            parts[:, column],
            place + rng.uniform(-0.3, 0.3, len(parts)),
            c=rank,
            s=4,
            cmap="coolwarm",
            plotnonfinite=True,
        )
    axis.set_yticks(range(len(order)), [FEATURES.names[i] for i in order.tolist()], fontsize=8)
    axis.axvline(0, color="grey", linewidth=0.8)
    axis.set(xlabel="contribution to the log-odds (red: the feature is high)", title="SHAP, half of the rows hazardous")
