"""The training reference of a model package: the columns that are watched for drift, and their bins.

`reference.json` holds histograms over training readings in normal operation: of each feature, of `combinations` of
features, and of the model's `output`. A combination is a weighted sum in which changes common to its features cancel.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import Float, Int

Single = NDArray[np.float32]

OUTPUT = "probability"
"""Name of the column of the model's output."""
BINS = 50
TAIL = 0.001
"""Quantiles at this share and at 1 minus it are edges too, so that the outermost bins hold rare values only."""


class Column(NamedTuple):
    """A column that is watched.

    Attributes:
        name: a feature, a combination of features, or `OUTPUT`.
        edges: edges of the bins, ascending, [e].
        counts: training readings below the first edge, in each bin, and from the last edge on, [e + 1].
        missing: training readings without a value.
    """

    name: str
    edges: Single
    counts: Int
    missing: int


class Reference:
    """The watched columns of a model package. Assigns readings to their bins.

    Attributes:
        columns: the watched columns.
        digest: identifies columns and bins. Counts with the same digest can be added and compared.
        width: number of counts per column: those of the longest column, and last the readings without a value.
    """

    def __init__(self, reference: Mapping[str, Any]) -> None:
        """Read a reference.

        Args:
            reference: the content of `reference.json`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: the content is not valid.
        """
        columns = [_column(name, histogram) for name, histogram in reference["features"].items()]
        combinations = reference.get("combinations", {})
        columns += [_column(name, histogram) for name, histogram in combinations.items()]
        if (output := reference.get("output")) is not None:
            columns.append(_column(OUTPUT, output))
        self.columns = tuple(columns)
        if len(set(self.names)) < len(columns):
            raise ValueError("a combination has the name of a feature")
        self.width = max(len(c.edges) for c in columns) + 2
        self._place = {name: i for i, name in enumerate(reference["features"])}
        self._weights = [
            {name: float(weight) for name, weight in histogram["weights"].items()}
            for histogram in combinations.values()
        ]
        if unknown := {name for weights in self._weights for name in weights} - self._place.keys():
            raise ValueError(f"combinations of {', '.join(sorted(unknown))}, which are not features")
        identity = [self._weights, [(c.name, c.edges.tolist()) for c in columns]]
        self.digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [c.name for c in self.columns]

    def combined(self, column: str) -> bool:
        """Whether a column is part of a combination: a feature of it, or the mean of such a feature over a window."""
        parts = {name for weights in self._weights for name in weights}
        return any(column == name or column.startswith(f"{name}_mean_") for name in parts)

    def trained(self) -> Int:
        """Counts of the training readings, shape [columns, width]."""
        counts = np.zeros((len(self.columns), self.width), np.int64)
        for i, column in enumerate(self.columns):
            counts[i, : len(column.counts)] = column.counts
            counts[i, -1] = column.missing
        return counts

    def bins(self, features: Float, probability: Float) -> Int:
        """The bin of each reading in each column, shape [n, columns].

        Args:
            features: shape [n, features].
            probability: shape [n].
        """
        parts = [features, *(combined(features, self._place, w)[:, None] for w in self._weights), probability[:, None]]
        values = _single(np.hstack(parts)).T
        bins = np.empty((len(features), len(self.columns)), np.int64)
        for i, column in enumerate(self.columns):
            bins[:, i] = np.where(
                np.isnan(values[i]), self.width - 1, np.searchsorted(column.edges, values[i], side="right")
            )
        return bins


def _single(values: Float) -> Single:
    # As in training, which stores features in single precision, so that a value falls into the same bin.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def combined(features: Float, place: Mapping[str, int], weights: Mapping[str, float]) -> Float:
    """A weighted sum of features [n, f], shape [n]; NaN where one of the weighted features is NaN."""
    return sum((features[:, place[name]] * weight for name, weight in weights.items()), np.zeros(len(features)))


def _column(name: str, histogram: Mapping[str, Any]) -> Column:
    """A column from its histogram. A bin includes its lower edge; the last bin also includes its upper edge."""
    edges = _single(np.array(histogram["edges"], np.float64))
    counts = np.array(histogram["counts"], np.int64)
    missing = np.int64(histogram["missing"])
    if len(counts) != max(len(edges) - 1, 1) or not (np.diff(edges) > 0).all() or min(counts.min(), missing) < 0:
        raise ValueError(f"the bins of {name} are not ascending, or do not have one count each")
    if len(edges) == 1:  # a constant column, or one without values
        edges = np.repeat(edges, 2)
    edges[-1] = np.nextafter(edges[-1], np.float32(np.inf))
    return Column(name, edges, np.concatenate(([0], counts, [0])), int(missing))


def histogram(values: Float) -> dict[str, Any]:
    """Histogram of a column [n] in the form of `reference.json`: edges at quantiles, missing values counted apart."""
    known = _single(values[~np.isnan(values)])
    # Quantiles are values of the column. An edge between two values could be rounded to the other side of one.
    shares = np.sort([*np.linspace(0, 1, BINS + 1), TAIL, 1 - TAIL])
    edges = np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else np.zeros(1, np.float32)
    counts = np.histogram(known, edges)[0] if len(edges) > 1 else np.array([len(known)])
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": int(len(values) - len(known))}


def build_reference(
    names: Sequence[str], features: Float, probability: Float, combinations: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The content of `reference.json`.

    Args:
        names: names of the features.
        features: features of training readings in normal operation, shape [n, features].
        probability: the model's output for them, shape [n].
        combinations: weighted sums of features to watch too, name -> feature -> weight.
    """
    place = {name: i for i, name in enumerate(names)}
    return {
        "rows": len(features),
        "features": {name: histogram(features[:, i]) for name, i in place.items()},
        "combinations": {
            name: {"weights": dict(weights), **histogram(combined(features, place, weights))}
            for name, weights in combinations.items()
        },
        "output": histogram(probability),
    }
