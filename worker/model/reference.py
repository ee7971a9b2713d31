"""What of a model's input and output is watched for drift, and in which bins: the package's training reference.

`reference.json` of a model package holds a histogram of each feature over training readings in normal operation, of
`combinations` of features (weighted sums, in which what moves features together cancels), and of the model's `output`.
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
"""Name of the model's output among the columns."""
BINS = 50
TAIL = 0.001
"""Beyond the bins that hold all but this share of the training readings on either side, next to none has been."""


class Column(NamedTuple):
    """A column that is watched.

    Attributes:
        name: a feature, a combination of features, or `OUTPUT`.
        edges: of the bins, ascending, [e].
        counts: training readings below the first edge, in each bin and from the last edge on [e + 1].
        missing: training readings without a value.
    """

    name: str
    edges: Single
    counts: Int
    missing: int


class Reference:
    """The columns of a model package, and how readings are counted into their bins.

    Attributes:
        columns: what is watched.
        digest: identity of columns and bins: counts of the same digest can be added up and compared.
        width: counts a column: those of the longest, and in the last place the readings without a value.
    """

    def __init__(self, reference: Mapping[str, Any]) -> None:
        """Take what a package's `reference.json` holds.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it holds something else.
        """
        columns = [_column(name, histogram) for name, histogram in reference["features"].items()]
        combinations = reference.get("combinations", {})
        columns += [_column(name, histogram) for name, histogram in combinations.items()]
        if (output := reference.get("output")) is not None:
            columns.append(_column(OUTPUT, output))
        self.columns = tuple(columns)
        if len(set(self.names)) < len(columns):
            raise ValueError("a combination has a feature's name")
        self.width = max(len(c.edges) for c in columns) + 2
        self._place = {name: i for i, name in enumerate(reference["features"])}
        self._weights = [
            {name: float(weight) for name, weight in histogram["weights"].items()}
            for histogram in combinations.values()
        ]
        if unknown := {name for weights in self._weights for name in weights} - self._place.keys():
            raise ValueError(f"combinations of {', '.join(sorted(unknown))}, which are no features")
        identity = [self._weights, [(c.name, c.edges.tolist()) for c in columns]]
        self.digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [c.name for c in self.columns]

    def combined(self, column: str) -> bool:
        """Whether a column is a feature in a combination, or the mean of one."""
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
    # Training keeps features in single precision: a value must fall to the same side of an edge here as there.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def combined(features: Float, place: Mapping[str, int], weights: Mapping[str, float]) -> Float:
    """A weighted sum of features [n, f], shape [n]; NaN where one of those it takes is."""
    return sum((features[:, place[name]] * weight for name, weight in weights.items()), np.zeros(len(features)))


def _column(name: str, histogram: Mapping[str, Any]) -> Column:
    """A column from its histogram, whose bins take their lower edge in, and the last one its upper edge too."""
    edges = _single(np.array(histogram["edges"], np.float64))
    counts = np.array(histogram["counts"], np.int64)
    missing = np.int64(histogram["missing"])
    if len(counts) != max(len(edges) - 1, 1) or not (np.diff(edges) > 0).all() or min(counts.min(), missing) < 0:
        raise ValueError(f"the bins of {name} do not ascend, or have no count each")
    if len(edges) == 1:  # a constant, or nothing known
        edges = np.repeat(edges, 2)
    edges[-1] = np.nextafter(edges[-1], np.float32(np.inf))
    return Column(name, edges, np.concatenate(([0], counts, [0])), int(missing))


def histogram(values: Float) -> dict[str, Any]:
    """Histogram of a column [n] as `reference.json` holds it: edges at its quantiles, missing values apart."""
    known = _single(values[~np.isnan(values)])
    # Quantiles that are values: between two of them, single precision might round one to the other side.
    shares = np.sort([*np.linspace(0, 1, BINS + 1), TAIL, 1 - TAIL])
    edges = np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else np.zeros(1, np.float32)
    counts = np.histogram(known, edges)[0] if len(edges) > 1 else np.array([len(known)])
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": int(len(values) - len(known))}


def build_reference(
    names: Sequence[str], features: Float, probability: Float, combinations: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """The content of `reference.json`.

    Args:
        names: of the features.
        features: of training readings in normal operation, shape [n, features].
        probability: what the model makes of them, shape [n].
        combinations: weighted sums of features to watch besides, name -> feature -> weight.
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
