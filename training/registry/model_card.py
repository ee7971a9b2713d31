"""What a model is, what it was trained on, how good it is and what it is not good for (Mitchell et al. 2019)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.datasets.source import Rows
from training.fitting.fit import Comparison, headline
from training.fitting.recipe import Recipe
from training.reports.render import render
from worker.config.task import Task

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")


def model_card(recipe: Recipe, rows: Rows, comparison: Comparison) -> dict[str, Any]:
    """The card as plain values, for JSON.

    Args:
        recipe: what was learned.
        rows: from which rows.
        comparison: the models, and which of them is served.
    """
    served = comparison.served
    name, value = headline(recipe, served)
    return {
        "name": recipe.name,
        "task": str(recipe.task),
        "purpose": recipe.purpose,
        "model_type": served.name,
        "estimator": " → ".join(dict.fromkeys(_steps(served.estimator))),
        "parameters": served.parameters,
        "target": recipe.target,
        "unit": recipe.unit,
        "features": recipe.inputs,
        "n_features": len(recipe.inputs),
        "training_rows": len(comparison.split.train),
        "test_rows": len(comparison.split.test),
        "data": {"origin": rows.origin, "sha256": rows.sha256, "generated": rows.generated, "licence": recipe.licence},
        "metrics": served.metrics,
        "headline": {"metric": name, "value": value},
        "error_band": served.metrics["mae"] if recipe.task == Task.REGRESSION else None,
        "threshold": served.threshold,
        "compared": [
            {"name": r.name, "cv_score": r.score, "cv_deviation": r.deviation, "repeatable": r.repeatable, **r.metrics}
            for r in comparison.results
        ],
        "limits": list(recipe.limits),
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def as_markdown(card: dict[str, Any]) -> str:
    """The card as a page."""
    return render(_TEMPLATE, **card)


def _steps(estimator: Any) -> list[str]:
    """Names of the classes that an estimator consists of, outermost first."""
    steps = [step for _, step in getattr(estimator, "steps", [])]
    columns = [part for _, part, _ in getattr(estimator, "transformers", [])]
    inner = [part for name in ("regressor", "estimator") if (part := getattr(estimator, name, None)) is not None]
    own = [] if steps or columns else [type(estimator).__name__]
    return own + [name for part in (*steps, *columns, *inner) for name in _steps(part)]
