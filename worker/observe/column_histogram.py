"""A Prometheus histogram that counts a whole column of values at once."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.arrays import Float

_LATENCY_BOUNDS_S: Final = np.array([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600])


class ColumnHistogram(Collector):
    """A Prometheus histogram that takes a column of values at once."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str, bounds: Float = _LATENCY_BOUNDS_S) -> None:
        self._name, self._meaning, self._bounds = name, meaning, bounds
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Float) -> None:
        """Count each of the values, shape [n]."""
        at = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(at, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[Metric]:
        """The histogram as a metric family of the Prometheus client."""
        names = [*(str(b) for b in self._bounds.tolist()), "+Inf"]
        family = HistogramMetricFamily(self._name, self._meaning)
        family.add_metric([], list(zip(names, np.cumsum(self._counts).tolist(), strict=True)), self._sum)
        yield family
