"""A column of texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from common.arrays import Bool, Int, Texts

Bytes = NDArray[np.uint8]
_LONGEST_COMPARED = 64  # bytes; longer texts would take too much memory side by side


@dataclass(frozen=True)
class TextColumn:
    """UTF-8 texts of n rows as slices of one buffer, so that texts become Python objects only when needed.

    The buffer has at least one byte after the last text.
    """

    buffer: Bytes
    start: Int
    length: Int

    @classmethod
    def of(cls, texts: list[bytes]) -> Self:
        """A column of these texts."""
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
        """A column of some of the rows."""
        return type(self)(self.buffer, self.start[rows], self.length[rows])

    def matrix(self) -> Bytes:
        """The texts, padded with the bytes that follow them in the buffer, shape [n, longest].

        Only for texts of limited length, because one long text makes all rows as long.
        """
        longest = int(self.length.max(initial=0))
        buffer = np.concatenate((self.buffer, np.zeros(longest, np.uint8)))
        # A view of windows copies each row in one piece.
        return sliding_window_view(buffer, longest)[self.start] if longest else np.empty((len(self), 0), np.uint8)

    def flat(self) -> tuple[Bytes, Int]:
        """The bytes of all rows, one row after the other, and the row of each byte. Needs no padding."""
        row = np.repeat(np.arange(len(self)), self.length)
        shift = self.start - (np.cumsum(self.length) - self.length)
        return self.buffer[np.arange(len(row)) + shift[row]], row

    def equals(self, other: "TextColumn") -> Bool:
        """Which rows have the same text in both columns, shape [n]."""
        same = np.asarray(self.length == other.length)
        rows = np.flatnonzero(same)
        mine, row = self.take(rows).flat()
        theirs, _ = other.take(rows).flat()
        same[rows[row[mine != theirs]]] = False
        return same

    def ascii(self) -> Bool:
        """Which rows have only ASCII characters, shape [n]."""
        text, row = self.flat()
        only = np.ones(len(self), np.bool_)
        only[row[text >= 0x80]] = False
        return only

    def characters(self) -> Int:
        """Number of characters of each row, shape [n]."""
        text, row = self.flat()
        return np.bincount(row[(text & 0xC0) != 0x80], minlength=len(self))  # counts first bytes of characters

    def distinct(self) -> tuple[Int, list[bytes]]:
        """Which of the distinct texts each row has, shape [n], and these texts."""
        longest = int(self.length.max(initial=0))
        if longest > _LONGEST_COMPARED:
            codes: dict[bytes, int] = {}
            rows = (codes.setdefault(self.raw(row), len(codes)) for row in range(len(self)))
            return np.fromiter(rows, np.int64, len(self)), list(codes)
        # The length, so that zeros in a text count, and a last byte that is none, as NumPy drops zeros at the end.
        cells = np.zeros((len(self), longest + 3), np.uint8)
        cells[:, :longest] = np.where(np.arange(longest) < self.length[:, None], self.matrix(), 0)
        cells[:, longest : longest + 2] = self.length.astype("<u2")[:, None].view(np.uint8)
        cells[:, -1] = 1
        _, example, code = np.unique(cells.view(f"S{longest + 3}")[:, 0], return_index=True, return_inverse=True)
        return code.reshape(-1), [self.raw(row) for row in example.tolist()]

    @classmethod
    def concatenate(cls, columns: Sequence["TextColumn"]) -> Self:
        """The rows of several columns, one column after the other."""
        buffers = {id(c.buffer): c.buffer for c in columns}
        ends = np.cumsum([len(b) for b in buffers.values()])
        base = dict(zip(buffers, [0, *ends[:-1].tolist()], strict=True))
        start = np.concatenate([c.start + base[id(c.buffer)] for c in columns])
        whole = next(iter(buffers.values())) if len(buffers) == 1 else np.concatenate(list(buffers.values()))
        return cls(whole, start, np.concatenate([c.length for c in columns]))


@dataclass(frozen=True)
class NullableText:
    """Texts of n rows, some of which are null. present: shape [n]; the text of a row that is null is any."""

    text: TextColumn
    present: Bool

    def __len__(self) -> int:
        return len(self.present)

    def take(self, rows: Int | Bool) -> "NullableText":
        """Some of the rows."""
        return NullableText(self.text.take(rows), self.present[rows])

    def objects(self) -> Texts:
        """The texts as Python objects, None where null, shape [n]. Each distinct text is one object."""
        found = np.full(len(self), None, np.object_)
        rows = np.flatnonzero(self.present)
        codes, texts = self.text.take(rows).distinct()
        if len(rows):
            found[rows] = np.array([text.decode() for text in texts], np.object_)[codes]
        return found

    @classmethod
    def concatenate(cls, columns: Sequence["NullableText"]) -> "NullableText":
        """The rows of several columns, one column after the other."""
        texts, present = [c.text for c in columns], [c.present for c in columns]
        return cls(TextColumn.concatenate(texts), np.concatenate(present))
