"""What follows from how the equipment behind a key is built, for the readings of a batch."""

from collections.abc import Callable, Mapping

import numpy as np

from common.arrays import Float
from worker.config.topology import Topology
from worker.score.readings import Readings


class PerTopology:
    """Numbers of each reading's own key and group: the same in any run and rebuild."""

    def __init__(self, topology: Topology, compute: Callable[[Mapping[str, float | str]], Float]) -> None:
        """`compute` gives the numbers that follow from a key's parameters."""
        self._topology, self._compute = topology, compute
        # One entry for each declaration of the topology, so a flood of new keys adds none.
        self._of: dict[tuple[str, str], Float] = {("", ""): compute(topology.default)}

    @property
    def default(self) -> Float:
        """The numbers of keys that the topology does not name."""
        return self._of["", ""]

    def of(self, readings: Readings, keys: list[bytes]) -> Float:
        """The numbers of each reading, shape [n, …], or without the first axis where all keys are built alike."""
        topology = self._topology
        if not (topology.groups or topology.keys) or not keys:
            return self.default
        own = (name if (name := key.decode()) in topology.keys else "" for key in keys)
        shared = (name if (name := readings.group[i]) in topology.groups else "" for i in range(len(keys)))
        places = list(zip(own, shared, strict=True))
        for key, group in set(places) - self._of.keys():
            self._of[key, group] = self._compute(topology.of(key, group))
        return np.stack([self._of[place] for place in places])
