"""Pieces of a recording: columns of some thousand readings."""

from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int


class Piece(NamedTuple):
    """Readings as columns. Shapes [n]; `values` is [n, sensors that the recording has], NaN where missing.

    `ts` is in ms since 1970.
    """

    key: Int
    ts: Int
    label: Bool
    values: Float

    def take(self, rows: Int | Bool | slice) -> "Piece":
        """A selection of the readings."""
        return Piece(self.key[rows], self.ts[rows], self.label[rows], self.values[rows])

    def followed_by(self, other: "Piece") -> "Piece":
        """These readings, followed by others."""
        both = ((self.key, other.key), (self.ts, other.ts))
        key, ts = (np.concatenate(pair) for pair in both)
        return Piece(key, ts, np.concatenate((self.label, other.label)), np.concatenate((self.values, other.values)))


class Span(NamedTuple):
    """Number of a key's readings, and their first and last time, ms."""

    readings: int
    first_ts: int
    last_ts: int
