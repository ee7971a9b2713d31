"""A column of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from common.arrays import Bool, Int

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class TextColumn:
    """UTF-8 texts of n rows as slices of one buffer, so that no Python object is made for a text nobody looks at.

    The buffer ends with at least one byte that belongs to no text.
    """

    buffer: Bytes
    start: Int
    length: Int

    @classmethod
    def of(cls, texts: list[bytes]) -> Self:
        """A column with these texts."""
        length = np.fromiter(map(len, texts), np.int64, len(texts))
        return cls(np.frombuffer(b"".join((*texts, b"\0")), np.uint8), np.cumsum(length) - length, length)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, row: int) -> str:
        return self.raw(row).decode()

    def raw(self, row: int) -> bytes:
        """The bytes of one row."""
        start = self.start[row]
        return self.buffer[start : start + self.length[row]].tobytes()

    def take(self, rows: Int | Bool) -> Self:
        """The column of some of the rows."""
        return type(self)(self.buffer, self.start[rows], self.length[rows])

    def matrix(self) -> Bytes:
        """The texts and what follows them in the buffer, up to the longest text's length, shape [n, longest].

        For texts whose length was checked: one giant makes all rows as long.
        """
        longest = int(self.length.max(initial=0))
        buffer = np.concatenate((self.buffer, np.zeros(longest, np.uint8)))
        # Through a view of windows each row is copied as a piece.
        return sliding_window_view(buffer, longest)[self.start] if longest else np.empty((len(self), 0), np.uint8)

    def flat(self) -> tuple[Bytes, Int]:
        """The bytes of all rows, one after the other, and the row of each: no more than the texts, one giant or not."""
        row = np.repeat(np.arange(len(self)), self.length)
        shift = self.start - (np.cumsum(self.length) - self.length)
        return self.buffer[np.arange(len(row)) + shift[row]], row

    def equals(self, other: "TextColumn") -> Bool:
        """Which rows hold the same text as the other column, shape [n]."""
        same = np.asarray(self.length == other.length)
        rows = np.flatnonzero(same)
        mine, row = self.take(rows).flat()
        theirs, _ = other.take(rows).flat()
        same[rows[row[mine != theirs]]] = False
        return same

    def ascii(self) -> Bool:
        """Which rows hold ASCII only, shape [n]."""
        text, row = self.flat()
        only = np.ones(len(self), np.bool_)
        only[row[text >= 0x80]] = False
        return only

    def characters(self) -> Int:
        """How many characters each row has, shape [n]."""
        text, row = self.flat()
        return np.bincount(row[(text & 0xC0) != 0x80], minlength=len(self))  # bytes that begin one

    @classmethod
    def concatenate(cls, columns: Sequence["TextColumn"]) -> Self:
        """The rows of several columns, one column after the other."""
        buffers = {id(c.buffer): c.buffer for c in columns}
        ends = np.cumsum([len(b) for b in buffers.values()])
        base = dict(zip(buffers, [0, *ends[:-1].tolist()], strict=True))
        start = np.concatenate([c.start + base[id(c.buffer)] for c in columns])
        whole = next(iter(buffers.values())) if len(buffers) == 1 else np.concatenate(list(buffers.values()))
        return cls(whole, start, np.concatenate([c.length for c in columns]))
