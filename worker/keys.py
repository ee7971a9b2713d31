"""Message keys that say what the record's key field says, in another form than plain text.

The record is known, so nothing has to be guessed or looked up: a key is understood when it is a known way to write
that very text.
"""

import json

from schemas.wire import (
    CONFLUENT_MAGIC,
    CONFLUENT_PREFIX_LENGTH,
    LONG_ID_PREFIX_LENGTH,
    SINGLE_OBJECT_MARKER,
    SINGLE_OBJECT_PREFIX_LENGTH,
)
from worker.avro_encoding import zigzag

_BRANCHES = (b"", b"\x00", b"\x02")  # of no union, or the first or second of one


def says(key: bytes, text: bytes) -> bool:
    """Whether a message key is this text, written as a JSON string or as an Avro string.

    The Avro string may be the only field of a record, and a branch of a union with null. In front of it stands the
    prefix of any wire format, or nothing, as where headers name the schema.
    """
    if key[:1] == b'"':
        try:
            return bool(json.loads(key) == text.decode())
        except (ValueError, RecursionError):
            return False
    body = zigzag(len(text)) + text
    return key.endswith(body) and any(_is_prefix(key[: len(key) - len(body)], branch) for branch in _BRANCHES)


def _is_prefix(front: bytes, branch: bytes) -> bool:
    if not front.endswith(branch):
        return False
    prefix = front[: len(front) - len(branch)]
    if prefix[:1] == CONFLUENT_MAGIC:
        return len(prefix) in (CONFLUENT_PREFIX_LENGTH, LONG_ID_PREFIX_LENGTH)
    return not prefix or (prefix[:2] == SINGLE_OBJECT_MARKER and len(prefix) == SINGLE_OBJECT_PREFIX_LENGTH)
