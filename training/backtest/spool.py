"""Stores the readings of recordings of any length on disk, and returns them by key and time.

Memory holds one piece at a time. If keys are interleaved or out of order, a sixty-fourth of the keys is sorted at a
time, which takes about 30 bytes per reading of these.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import Bool, Float, Int

_BUCKETS = 64
PIECE = 4096
"""Readings per piece: bounds memory and fits the processor's cache. Does not change the result."""
_SAMPLE = 1_000_000


class Piece(NamedTuple):
    """Readings sorted by key, then time, then order in the files. Shapes [n].

    `values` is [n, sensors that the recording has].
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


class Spool:
    """Readings on disk.

    Args:
        directory: for the files.
        sensors: number of sensors in the recording.
    """

    def __init__(self, directory: Path, sensors: int) -> None:
        self._directory = directory
        self._row = np.dtype(
            [("key", np.int32), ("ts", np.int64), ("label", np.bool_), ("values", np.float64, (sensors,))]
        )
        self._last: dict[int, tuple[int, int]] = {}
        self._unsorted: set[int] = set()
        self.spans: dict[int, Span] = {}

    def __len__(self) -> int:
        return sum(span.readings for span in self.spans.values())

    def add(self, key: Int, ts: Int, label: Bool, values: Float) -> None:
        """Append readings."""
        if not len(key):
            return
        rows = np.empty(len(key), self._row)
        rows["key"], rows["ts"], rows["label"], rows["values"] = key, ts, label, values
        self._note(key, ts)
        bucket = key % _BUCKETS
        for number in np.unique(bucket).tolist():
            part = rows[bucket == number]
            before = self._last.get(number)
            follows = before is None or before <= (int(part["key"][0]), int(part["ts"][0]))
            steps = np.diff(part["key"])
            if not follows or not ((steps > 0) | ((steps == 0) & (np.diff(part["ts"]) >= 0))).all():
                self._unsorted.add(number)
            self._last[number] = int(part["key"][-1]), int(part["ts"][-1])
            with self._file(number).open("ab") as file:
                part.tofile(file)

    def _note(self, key: Int, ts: Int) -> None:
        order = np.argsort(key, kind="stable")
        keys, start = np.unique(key[order], return_index=True)
        first, last = np.minimum.reduceat(ts[order], start), np.maximum.reduceat(ts[order], start)
        count = np.diff([*start.tolist(), len(key)])
        for k, n, a, b in zip(keys.tolist(), count.tolist(), first.tolist(), last.tolist(), strict=True):
            held = self.spans.get(k, Span(0, a, b))
            self.spans[k] = Span(held.readings + n, min(held.first_ts, a), max(held.last_ts, b))

    def _file(self, number: int) -> Path:
        return self._directory / f"{number}.rows"

    def pieces(self) -> Iterator[Piece]:
        """All readings, key by key, about `PIECE` at a time."""
        gathered: list[NDArray[np.void]] = []
        for number in sorted(self._last):
            rows = np.memmap(self._file(number), self._row, "r")
            order = self._order(number, rows, len(rows))
            for start in range(0, len(rows), PIECE):
                gathered.append(rows[slice(start, start + PIECE) if order is None else order[start : start + PIECE]])
                if sum(map(len, gathered)) >= PIECE:
                    yield _piece(gathered)
                    gathered.clear()
        if gathered:
            yield _piece(gathered)

    def _order(self, number: int, rows: NDArray[np.void], upto: int) -> Int | None:
        if number not in self._unsorted:
            return None
        return np.lexsort((rows["ts"][:upto], rows["key"][:upto]))

    def periods_ms(self) -> dict[int, float]:
        """Median time between two readings of each key, from a sample; for a key with one time, that of the others."""
        found: dict[int, float] = {}
        for number in sorted(self._last):
            rows = np.memmap(self._file(number), self._row, "r")[:_SAMPLE]
            order = self._order(number, rows, len(rows))
            key, ts = (rows["key"], rows["ts"]) if order is None else (rows["key"][order], rows["ts"][order])
            step = np.where(np.diff(key) == 0, np.diff(ts), 0)
            keys, start = np.unique(key, return_index=True)
            for i, k in enumerate(keys.tolist()):
                steps = step[start[i] : start[i + 1] - 1 if i + 1 < len(start) else len(step)]
                steps = steps[steps > 0]
                found[k] = float(np.median(steps)) if len(steps) else np.nan
        usual = [p for p in found.values() if not np.isnan(p)]
        fallback = float(np.median(usual)) if usual else np.nan
        return {k: found[k] if k in found and not np.isnan(found[k]) else fallback for k in self.spans}


def _piece(gathered: list[NDArray[np.void]]) -> Piece:
    rows = np.concatenate(gathered)
    columns = (np.ascontiguousarray(rows[name]) for name in ("key", "ts", "label", "values"))
    key, ts, label, values = columns
    return Piece(key.astype(np.int64), ts, label, values)
