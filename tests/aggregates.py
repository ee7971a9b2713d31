"""What aggregates hold, in a form that can be compared."""

from typing import Any

import numpy as np

from worker.score.aggregates import KeyedAggregates


def held(aggregates: KeyedAggregates, partition: int, clock: int) -> dict[tuple[bytes, int, int], Any]:
    """What the keys of a partition hold that are not forgotten at this stream time, by key, ring and bucket."""
    state = aggregates.state
    found: dict[tuple[bytes, int, int], Any] = {}
    for key, slot in aggregates._slots[partition].items():
        at = np.array([slot])
        if state.expired(at, clock)[0]:
            continue
        times = [column.tolist() for column in state.times(at)]
        for ring, places in enumerate(state.buckets(at)):
            content = state.rings[ring].at(at.repeat(len(places.number)), places.number)
            found |= {
                (key, ring, number): (times, values)
                for number, values in zip(places.number.tolist(), content.tolist(), strict=True)
            }
    assert found
    return found
