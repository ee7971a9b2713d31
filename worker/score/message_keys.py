"""Message keys that say what the record's key field says, in another form than plain text.

The record is known, so nothing has to be guessed or looked up: a key is understood when it is a known way to write
that very text.
"""

import json
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from common.arrays import Bool, Int
from schemas.columnar_encoder import zigzag
from schemas.text_column import TextColumn
from schemas.wire import (
    CONFLUENT_MAGIC,
    CONFLUENT_PREFIX_LENGTH,
    LONG_ID_PREFIX_LENGTH,
    SINGLE_OBJECT_MARKER,
    SINGLE_OBJECT_PREFIX_LENGTH,
)

_BRANCHES = (b"", b"\x00", b"\x02")  # of no union, or the first or second of one

_LONGEST_FRONT = 16  # bytes of an Avro key before its text: the longest prefix, a branch and the text's length


def all_that_say(keys: TextColumn, texts: TextColumn) -> Bool:
    """Which message keys are the text of the same row in another form, shape [n]; see `says`.

    A batch has as many keys as readings and few ways to write them, so each way is looked at once.
    """
    found = _plain_json(keys, texts)
    ahead = keys.length - texts.length
    ends = TextColumn(keys.buffer, keys.start + np.maximum(ahead, 0), keys.length - np.maximum(ahead, 0))
    # Two bytes more than the text, or more, with a quotation mark in front, may be JSON as well as Avro.
    may_be_json = (ahead > 1) & (keys.buffer[keys.start] == ord('"'))
    avro = np.flatnonzero((ahead > 0) & (ahead <= _LONGEST_FRONT) & ~may_be_json)
    avro = avro[ends.take(avro).equals(texts.take(avro))]
    fronts = TextColumn(keys.buffer, keys.start[avro], ahead[avro])
    _, example, way = np.unique(_ways(fronts, texts.length[avro]), return_index=True, return_inverse=True)
    says_so = [says(keys.raw(i), texts.raw(i)) for i in avro[example].tolist()]
    found[avro] = np.array(says_so, np.bool_)[way]
    # Escapes in JSON, and keys that say something else: the latter end as dead letters, one by one.
    looked_at = found.copy()
    looked_at[avro] = True
    for i in np.flatnonzero(~looked_at).tolist():
        found[i] = says(keys.raw(i), texts.raw(i))
    return found


def _ways(fronts: TextColumn, length: Int) -> NDArray[np.bytes_]:
    """For each front and length of the text behind it a value of its own, shape [n]."""
    text, row = fronts.flat()
    ways = np.zeros((len(fronts), _LONGEST_FRONT + 9), np.uint8)
    ways[row, np.arange(len(row)) - np.searchsorted(row, row)] = text
    ways[:, _LONGEST_FRONT:-1] = length.astype("<i8")[:, None].view(np.uint8)
    ways[:, -1] = fronts.length  # never 0: NumPy takes zeros at the end for none
    return ways.view(f"S{ways.shape[1]}")[:, 0]


def _plain_json(keys: TextColumn, texts: TextColumn) -> Bool:
    """Which keys are the text in quotation marks, where JSON escapes nothing of it, shape [n]."""
    same: Bool = (keys.length == texts.length + 2) & (keys.buffer[keys.start] == ord('"'))
    rows = np.flatnonzero(same)
    inner = TextColumn(keys.buffer, keys.start[rows] + 1, texts.length[rows])
    quoted = keys.buffer[inner.start + inner.length] == ord('"')
    same[rows] = quoted & inner.equals(texts.take(rows))
    text, row = texts.take(rows).flat()
    same[rows[row[(text < ord(" ")) | (text == ord('"')) | (text == ord("\\"))]]] = False
    return same


def says(key: bytes, text: bytes) -> bool:
    """Whether a message key is this text, written as a JSON string or as an Avro string.

    The Avro string may be the only field of a record, and a branch of a union with null. In front of it stands the
    prefix of any wire format, or nothing, as where headers name the schema.
    """
    if key[:1] == b'"':  # or an Avro string of 17 bytes, whose length is written as this very byte
        with suppress(ValueError, RecursionError):
            if json.loads(key) == text.decode():
                return True
    body = zigzag(len(text)) + text
    return key.endswith(body) and any(_is_prefix(key[: len(key) - len(body)], branch) for branch in _BRANCHES)


def _is_prefix(front: bytes, branch: bytes) -> bool:
    if not front.endswith(branch):
        return False
    prefix = front[: len(front) - len(branch)]
    if prefix[:1] == CONFLUENT_MAGIC:
        return len(prefix) in (CONFLUENT_PREFIX_LENGTH, LONG_ID_PREFIX_LENGTH)
    return not prefix or (prefix[:2] == SINGLE_OBJECT_MARKER and len(prefix) == SINGLE_OBJECT_PREFIX_LENGTH)
