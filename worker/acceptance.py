"""Which readings of a key are accepted: those newer than all its arrivals of the last span of stream time."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from worker.features import NEVER, Bool, Int

Arrivals = list[tuple[int, int]]
"""(ts, clock) of a key's recent arrivals that are newest, or will be once those before them in the list expire."""


class Verdicts(NamedTuple):
    """What becomes of each reading, shape [n] each; and the arrivals to remember of keys that had any refused."""

    accepted: Bool
    duplicate: Bool
    late: Bool
    refusing: dict[int, Arrivals]


def judge(
    slot: Int, ts: Int, clock: Int, newest_ts: Int, newest_clock: Int, others: Mapping[int, Arrivals], span_ms: int
) -> Verdicts:
    """Judge readings sorted by slot, each key's in the order of arrival.

    Args:
        slot: slot of each reading's key, shape [n].
        ts: event time, ms, shape [n].
        clock: stream time on arrival, ms, shape [n].
        newest_ts: by slot, latest ts among the key's recent arrivals, ms.
        newest_clock: by slot, stream time at which that one arrived, ms.
        others: by slot, arrivals that are the newest once that one has expired.
        span_ms: how long an arrival counts.
    """
    first = np.ones(len(slot), np.bool_)
    first[1:] = slot[1:] != slot[:-1]
    before = np.where(first, newest_ts[slot], np.concatenate(([NEVER], ts[:-1]))[: len(ts)])
    accepted = ts > before
    verdicts = Verdicts(accepted, np.zeros_like(accepted), np.zeros_like(accepted), {})
    # Only a key with a reading that does not ascend needs its readings judged one by one.
    for key in np.unique(slot[~accepted]).tolist():
        arrivals = [(int(newest_ts[key]), int(newest_clock[key])), *others.get(key, [])]
        for i in range(int(np.searchsorted(slot, key, "left")), int(np.searchsorted(slot, key, "right"))):
            newest = _newest_before(arrivals, int(ts[i]), int(clock[i]), span_ms)
            verdicts.accepted[i], verdicts.duplicate[i], verdicts.late[i] = (
                ts[i] > newest,
                ts[i] == newest,
                ts[i] < newest,
            )
        verdicts.refusing[key] = arrivals
    return verdicts


def _newest_before(arrivals: Arrivals, ts: int, clock: int, span_ms: int) -> int:
    """The newest ts of the last span before this arrival, which is then added: a sliding maximum."""
    while arrivals and arrivals[0][1] <= clock - span_ms:
        arrivals.pop(0)
    newest = arrivals[0][0] if arrivals else NEVER
    while arrivals and arrivals[-1][0] <= ts:
        arrivals.pop()
    # One that expires no later than a newer one is never the newest: a storm of old readings adds nothing.
    if not arrivals or arrivals[-1][1] < clock:
        arrivals.append((ts, clock))
    return newest
