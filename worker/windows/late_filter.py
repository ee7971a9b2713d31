"""Which readings are scored: all, in order of arrival, except duplicates and late ones.

A key's clock may jump, run fast, or be forged. So the newest time seen does not decide on its own: readings that are
older than it, but by less than the *lateness*, are scored as they arrive.

For each key, the arrivals of the last lateness of stream time are remembered, accepted or not: from the first one that
was not newer than the one before it, and `size` more before that one, but at most `MOST * size`. Then:

- a reading is *late* if it is older, by the lateness or more, than the newest time that two different remembered
  readings confirm; or older than all `size` before the first one out of order, as those before are not remembered;
- a reading is a *duplicate* if a remembered one that was not late has the same time and content.

Whether a reading is late depends on times and contents that arrived within one lateness, never on earlier results;
whether it is a duplicate, on those within two. So a rebuild that starts further back than that gives the same results.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import NEVER, Bool, Float, Int

Content = NDArray[np.uint32]
MOST = 4
"""The most arrivals that are remembered for a key, as a multiple of the readings in a window."""


class Arrivals(NamedTuple):
    """Remembered arrivals of a key in their order, shape [n] each."""

    ts: Int
    clock: Int
    content: Content
    late: Bool
    accepted: Bool

    def then(self, other: "Arrivals") -> "Arrivals":
        """These, and the others after them."""
        return Arrivals(
            np.concatenate((self.ts, other.ts)),
            np.concatenate((self.clock, other.clock)),
            np.concatenate((self.content, other.content)),
            np.concatenate((self.late, other.late)),
            np.concatenate((self.accepted, other.accepted)),
        )

    def since(self, place: int) -> "Arrivals":
        """Those from this place on, in memory of their own."""
        kept = slice(place, None)
        return Arrivals(
            self.ts[kept].copy(),
            self.clock[kept].copy(),
            self.content[kept].copy(),
            self.late[kept].copy(),
            self.accepted[kept].copy(),
        )


class Sorted(NamedTuple):
    """Which readings are accepted, duplicates or late, shape [n] each.

    Attributes:
        arrivals: by slot, for keys whose readings were checked one by one, what to remember; None where the readings
            accepted last are enough: they are in order, and none of them was dropped.
    """

    accepted: Bool
    duplicate: Bool
    late: Bool
    arrivals: dict[int, Arrivals | None]


def content_of(values: Float) -> Content:
    """A number for the contents of each row, shape [n]: equal for equal rows (missing is equal to missing).

    Different rows have the same one in four thousand million, and only those of one key and millisecond are compared.
    """
    bits = np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)  # one NaN, and no minus zero
    bits ^= bits >> np.uint64(31)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits ^= bits >> np.uint64(29)
    bits *= 2 * np.arange(values.shape[1], dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(1)
    mixed = bits.sum(axis=1, dtype=np.uint64)
    content: Content = (mixed ^ (mixed >> np.uint64(32))).astype(np.uint32)
    return content


def sort_arrivals(
    slot: Int,
    arriving: tuple[Int, Int, Content],
    last_ts: Int,
    disordered: Bool,
    recall: Callable[[int], Arrivals],
    lateness_ms: int,
    size: int,
) -> Sorted:
    """Find accepted, duplicate and late readings. Rows are sorted by slot, and within a key by arrival.

    Args:
        slot: slot of each reading's key, shape [n].
        arriving: event time (ms), stream time on arrival (ms) and content of each, shape [n].
        last_ts: event time of the reading of the same key that was accepted last, ms, shape [n].
        disordered: whether the check of the key needs more than that, shape [n].
        recall: gives the remembered arrivals of the key in a slot.
        lateness_ms: see above.
        size: readings in a window.
    """
    ts, clock, content = arriving
    first = np.ones(len(slot), np.bool_)
    first[1:] = slot[1:] != slot[:-1]
    before = np.where(first, last_ts, np.concatenate(([NEVER], ts[:-1]))[: len(ts)])
    accepted = ts > before
    found = Sorted(accepted, np.zeros_like(accepted), np.zeros_like(accepted), {})
    # Only a key with a reading that is not newer than all before it needs its readings checked one by one.
    for key in np.unique(slot[~accepted | disordered]).tolist():
        rows = slice(int(np.searchsorted(slot, key, "left")), int(np.searchsorted(slot, key, "right")))
        new = Arrivals(ts[rows], clock[rows], content[rows], found.late[rows], found.accepted[rows])
        past = recall(key)
        arrivals = past.then(new)
        found.duplicate[rows] = _check_one_by_one(arrivals, len(past.ts), lateness_ms, size)
        found.late[rows] = arrivals.late[len(past.ts) :] & ~found.duplicate[rows]
        found.accepted[rows] = arrivals.accepted[len(past.ts) :]
        found.arrivals[key] = _kept(arrivals, lateness_ms, size)
    return found


def _remembered(a: Arrivals, place: Int, clock: Int, lateness_ms: int, size: int) -> tuple[Int, Int, Int]:
    """What is remembered at these places of a key's arrivals and these stream times, shape [n] each.

    Returns:
        The first remembered arrival, the first out of order behind it (else the place itself), and the event time
        before which one that was not remembered may lie.
    """
    low = np.maximum(np.searchsorted(a.clock, clock - lateness_ms, "right"), place - MOST * size)
    descents = np.append(np.flatnonzero(a.ts[1:] <= a.ts[:-1]) + 1, len(a.ts))
    end = np.minimum(descents[np.minimum(np.searchsorted(descents, low, "right"), len(descents) - 1)], place)
    full = end - low >= size
    floor = np.where(full, a.ts[np.where(full, end - size, 0)], NEVER)
    return np.maximum(low, end - size), end, floor


def _check_one_by_one(a: Arrivals, first: int, lateness_ms: int, size: int) -> Bool:
    """Which arrivals from `first` on are duplicates; sets whether they are late and accepted."""
    place = np.arange(first, len(a.ts))
    starts, _, floors = _remembered(a, place, a.clock[first:], lateness_ms, size)
    duplicate = np.zeros(len(place), np.bool_)
    for n, (i, start, floor) in enumerate(zip(place.tolist(), starts.tolist(), floors.tolist(), strict=True)):
        past, ts = a.ts[start:i], int(a.ts[i])
        same = np.flatnonzero(past == ts) + start
        if len(same):
            duplicate[n] = bool(((a.content[same] == a.content[i]) & ~a.late[same]).any())
        if ts <= past.max(initial=NEVER) - lateness_ms:
            a.late[i] = ts <= _confirmed(past, a.content[start:i]) - lateness_ms
        else:
            a.late[i] = False
        a.late[i] |= ts < floor
        a.accepted[i] = not (duplicate[n] or a.late[i])
    return duplicate


def _confirmed(ts: Int, content: Content) -> int:
    """The newest time that two different readings have reached; NEVER where there is only one."""
    newest = ts == ts.max()
    if len(np.unique(content[newest])) > 1:
        return int(ts.max())
    return int(ts[~newest].max(initial=NEVER))


def _kept(a: Arrivals, lateness_ms: int, size: int) -> Arrivals | None:
    """The arrivals that can matter to later ones; None if the window holds them all."""
    end = np.array([len(a.ts)])
    start, ascending, _ = _remembered(a, end, a.clock[-1:], lateness_ms, size)
    kept = a.since(int(start[0]))
    return None if ascending[0] == end[0] and kept.accepted.all() else kept
