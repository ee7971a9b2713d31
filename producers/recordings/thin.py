"""Thins readings that are denser than those the model was trained on, and keeps the extremes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from producers.recordings.piece import Piece


class _Ended(NamedTuple):
    """The last key of a piece, and the last known value of each of its sensors."""

    key: int
    values: Float


def thinned(
    pieces: Iterable[Piece],
    every_ms: Mapping[int, int],
    first_ts: Mapping[int, int],
    limits: tuple[Float, Float] | None = None,
) -> Iterator[Piece]:
    """Keep one reading per period, at the time of its last one, with the extreme of each sensor in the period.

    The extreme is the value that is farthest from the last value before the period, so that a short peak or a step is
    seen in full. A sensor without a value in the period is missing; an instrument may write each sensor in a row of its
    own.

    Args:
        pieces: readings sorted by key, then time.
        every_ms: period of each key, ms; 0 keeps all its readings.
        first_ts: start of each key's first period, ms.
        limits: least and greatest value of each sensor, shape [sensors] each. A value outside is taken only where a
            period has no other, as workers mask it.
    """
    held: Piece | None = None
    before: _Ended | None = None
    for piece in pieces:
        whole = piece if held is None else held.followed_by(piece)
        starts = _starts(whole, every_ms, first_ts)
        last = int(np.flatnonzero(starts)[-1])
        # The last period may continue in the next piece.
        held = whole.take(slice(last, None))
        before = before or _Ended(-1, np.full(whole.values.shape[1], np.nan))
        if last:
            made, before = _collapsed(whole.take(slice(last)), starts[:last], before, limits)
            yield made
    if held is not None and before is not None and len(held.key):
        yield _collapsed(held, _starts(held, every_ms, first_ts), before, limits)[0]


def _starts(piece: Piece, every_ms: Mapping[int, int], first_ts: Mapping[int, int]) -> Bool:
    """Rows that begin a period, shape [n]."""
    keys, code = np.unique(piece.key, return_inverse=True)
    every = np.array([every_ms[k] for k in keys.tolist()], np.int64)[code]
    first = np.array([first_ts[k] for k in keys.tolist()], np.int64)[code]
    period = np.where(every > 0, (piece.ts - first) // np.maximum(every, 1), np.arange(len(piece.ts)))
    starts = np.ones(len(piece.ts), np.bool_)
    starts[1:] = (np.diff(code) != 0) | (np.diff(period) != 0)
    return starts


def _collapsed(piece: Piece, starts: Bool, before: _Ended, limits: tuple[Float, Float] | None) -> tuple[Piece, _Ended]:
    """One reading per period of whole periods, and how it ended. `starts` [n]: rows that begin a period."""
    values = piece.values
    if limits is not None:
        with np.errstate(invalid="ignore"):
            values = np.where((values >= limits[0]) & (values <= limits[1]), values, np.nan)
    known = _last_known(piece.key, values, before)
    ended = _Ended(int(piece.key[-1]), known[-1])
    if starts.all():
        return piece, ended
    begin = np.flatnonzero(starts)
    last = np.append(begin[1:], len(starts)) - 1
    earlier = np.concatenate((before.values[None], known))[begin]
    follows = np.concatenate(([before.key], piece.key))[begin] == piece.key[begin]
    reference = np.where(follows[:, None] & ~np.isnan(earlier), earlier, known[last])
    high, low = np.fmax.reduceat(values, begin), np.fmin.reduceat(values, begin)
    extreme = np.where(high - reference >= reference - low, high, low)
    extreme = np.where(np.isnan(extreme), np.fmax.reduceat(piece.values, begin), extreme)
    return Piece(piece.key[last], piece.ts[last], np.logical_or.reduceat(piece.label, begin), extreme), ended


def _last_known(key: Int, values: Float, before: _Ended) -> Float:
    """The last known value of each sensor of the same key up to each row, shape [n, sensors]."""
    rows = np.arange(len(key))[:, None]
    known = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    begins = np.maximum.accumulate(np.where(np.diff(key, prepend=key[0]) != 0, rows[:, 0], 0))[:, None]
    found = np.take_along_axis(values, np.maximum(known, 0), axis=0)
    earlier = np.where((begins == 0) & (key[0] == before.key), before.values, np.nan)
    return np.where((known >= begins) & (known >= 0), found, earlier)
