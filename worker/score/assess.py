"""Which readings of a batch the model can judge, by what its package declares and by the topology of their keys."""

import numpy as np

from common.arrays import Int
from worker.config.topology import Topology, texts_in
from worker.model.contract import Features, Model
from worker.score.per_topology import PerTopology
from worker.score.readings import Origin, Readings


class Assessor:
    """Tells why readings are not assessable.

    Attributes:
        reasons: by number less one.
    """

    def __init__(self, model: Model, topology: Topology) -> None:
        """A model that declares nothing judges every reading."""
        self._numeric, self._declared = model.numeric, model.assessable
        self.reasons: tuple[str, ...] = ()
        if (declared := model.assessable) is not None:
            self.reasons = declared.reasons
            self._limits = PerTopology(topology, lambda parameters: declared.limits(texts_in(parameters)))

    def __call__(self, readings: Readings, origin: Origin, features: Features) -> Int:
        """Number of the reason of each reading, 0 where it is assessable, shape [n]. Rows do not depend on others."""
        if self._declared is None:
            return np.zeros(len(features), np.int64)
        limits = self._limits.of(readings, origin.keys)
        return self._declared.first_reason(features.numbers, self._numeric, limits)

    def of_rows(self, features: Features) -> Int:
        """The same for rows that are about no key: the default of the topology holds for them."""
        if self._declared is None:
            return np.zeros(len(features), np.int64)
        return self._declared.first_reason(features.numbers, self._numeric, self._limits.default)

    def texts(self, reason: Int) -> list[str | None]:
        """Reasons as texts, None where there is none, given their numbers, shape [n]."""
        return [self.reasons[number - 1] if number else None for number in reason.tolist()]
