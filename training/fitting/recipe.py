"""What is to be learned from which rows, and the models that compete for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.datasets.source import Rows
from worker.config.task import Task


@dataclass(frozen=True)
class Candidate:
    """A model that competes.

    Attributes:
        name: in tables and runs.
        estimator: an unfitted scikit-learn estimator that takes a DataFrame, or a pipeline of them.
        space: parameter -> distribution or list of values to search, as for `sklearn.model_selection.ParameterSampler`;
            empty: nothing is tuned.
    """

    name: str
    estimator: Any
    space: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        name: of the pipeline, and of the model in the registry.
        task: what is predicted.
        rows: finds the rows: the user's file or None, and a seed of generated rows.
        numbers: columns of numbers, in the model's order; missing values are NaN.
        categories: columns of text, in the model's order after the numbers; missing values are None.
        target: column of what is predicted. Binary: 1 is the positive class.
        candidates: the models that compete.
        purpose: what the model is for, a sentence of the model card.
        limits: what it is not good for, sentences of the model card.
        unit: of a regression's target.
        served: name of the candidate to serve whatever its rank; None: the best.
        split_by: column whose rows of one value all go to training, or all to the test; None: each row for itself.
        tries: parameter sets to try for each candidate.
        folds: of the cross-validation.
        licence: of the rows.
    """

    name: str
    task: Task
    rows: Callable[[Path | None, int], Rows]
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    target: str
    candidates: tuple[Candidate, ...]
    purpose: str
    limits: tuple[str, ...]
    licence: str
    unit: str = ""
    served: str | None = None
    split_by: str | None = None
    tries: int = 12
    folds: int = 5

    @property
    def inputs(self) -> list[str]:
        """The model's input columns."""
        return [*self.numbers, *self.categories]
