"""Thins readings that are denser than those the model was trained on."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from common.arrays import Bool, Int
from producers.recordings.piece import Piece


def thinned(pieces: Iterable[Piece], every_ms: Mapping[int, int], first_ts: Mapping[int, int]) -> Iterator[Piece]:
    """Keep one reading per period: the last one, with each sensor's last value in the period.

    An instrument may write each sensor in a row of its own; the last row alone would lose the other sensors.

    Args:
        pieces: readings sorted by key, then time.
        every_ms: period of each key, ms; 0 keeps all its readings.
        first_ts: start of each key's first period, ms.
    """
    held: Piece | None = None
    for piece in pieces:
        whole = piece if held is None else held.followed_by(piece)
        starts = _starts(whole, every_ms, first_ts)
        last = int(np.flatnonzero(starts)[-1])
        # The last period may continue in the next piece.
        held = whole.take(slice(last, None))
        if last:
            yield _collapsed(whole.take(slice(last)), starts[:last])
    if held is not None and len(held.key):
        yield _collapsed(held, _starts(held, every_ms, first_ts))


def _starts(piece: Piece, every_ms: Mapping[int, int], first_ts: Mapping[int, int]) -> Bool:
    """Rows that begin a period, shape [n]."""
    keys, code = np.unique(piece.key, return_inverse=True)
    every = np.array([every_ms[k] for k in keys.tolist()], np.int64)[code]
    first = np.array([first_ts[k] for k in keys.tolist()], np.int64)[code]
    period = np.where(every > 0, (piece.ts - first) // np.maximum(every, 1), np.arange(len(piece.ts)))
    starts = np.ones(len(piece.ts), np.bool_)
    starts[1:] = (np.diff(code) != 0) | (np.diff(period) != 0)
    return starts


def _collapsed(piece: Piece, starts: Bool) -> Piece:
    if starts.all():
        return piece
    begin = np.flatnonzero(starts)
    last = np.append(begin[1:], len(starts)) - 1
    row: Int = np.where(np.isnan(piece.values), -1, np.arange(len(starts))[:, None])
    known = np.maximum.accumulate(row, axis=0)[last]
    values = np.take_along_axis(piece.values, np.maximum(known, 0), axis=0)
    values = np.where(known >= begin[:, None], values, np.nan)
    return Piece(piece.key[last], piece.ts[last], np.logical_or.reduceat(piece.label, begin), values)
