"""Message values to be read or refused: valid ones, and valid ones broken in every way we know of."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import parse_prefix
from tests.fuzz.writers import Writers, random_value

Payload = tuple[str, bytes | None]
"""What was done to it, and the value."""

INTACT_KEPT = 3000
BAD_TEXT = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\x80")
# Zigzag varints of absurd lengths: 2**60, -2**60, 2**31, -1, 2**63-1, -2**63, one that never ends, an overlong 0.
BOMBS = (
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x20",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\x1f",
    b"\x80\x80\x80\x80\x10",
    b"\x01",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff" * 12,
    b"\x80\x80\x80\x80\x00",
)
_BLOCK_PARTS = (b"\x00", b"\x02", b"\x03", b"\x04", b"\x02\x02a", *BOMBS)


class Source(NamedTuple):
    """Valid values to start from, and the prefixes of schemas that nobody could write with."""

    intact: list[bytes]
    broken: list[bytes]


def source(rng: Random, writers: Writers, count: int = INTACT_KEPT) -> Source:
    """Valid values of all the writers."""
    prepared = [(prefix, parsed(schema)) for prefix, schema in writers.good]
    intact = []
    for i in range(count):
        # Half of them of the current schema, as in a healthy fleet.
        prefix, schema = prepared[i % 2] if i % 4 < 2 else rng.choice(prepared)
        intact.append(encode(random_value(rng, schema), schema, prefix))
    return Source(intact, writers.broken)


def payload(rng: Random, at_hand: Source) -> Payload:
    """One value and the name of what was done to it."""
    kind = rng.choice(_KINDS)
    value = rng.choice(at_hand.intact)
    return kind, KINDS[kind](rng, value, at_hand)


def _body_place(rng: Random, value: bytes) -> int:
    return rng.randrange(parse_prefix(value)[1], len(value) + 1)


def _bit_flips(rng: Random, value: bytes, _: Source) -> bytes:
    changed = bytearray(value)
    for _flip in range(rng.randrange(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _spliced(rng: Random, value: bytes, at_hand: Source) -> bytes:
    other = rng.choice(at_hand.intact)
    return value[: _body_place(rng, value)] + other[_body_place(rng, other) :]


def _replaced(rng: Random, value: bytes, pieces: tuple[bytes, ...]) -> bytes:
    place = _body_place(rng, value)
    piece = rng.choice(pieces)
    return value[:place] + piece + value[place + rng.choice([0, 1, len(piece)]) :]


def _overlong(rng: Random, value: bytes, _: Source) -> bytes:
    place = _body_place(rng, value)
    return value[:place] + bytes([value[place] | 0x80, 0]) + value[place + 1 :] if place < len(value) else value


def _blocks(rng: Random, value: bytes, _: Source) -> bytes:
    return value[: _body_place(rng, value)] + b"".join(rng.choice(_BLOCK_PARTS) for _ in range(rng.randrange(1, 30)))


def _noise(rng: Random, value: bytes, at_hand: Source) -> bytes:
    # Behind a known prefix, behind a broken schema's, behind the first bytes of either format, or behind nothing.
    front = rng.choice([value[: parse_prefix(value)[1]], rng.choice(at_hand.broken), b"\x00", b"\xc3\x01", b""])
    return front + rng.randbytes(rng.choice([0, 1, 4, 9, 40, 200]))


def _unknown_schema(rng: Random, value: bytes, _: Source) -> bytes:
    body = value[parse_prefix(value)[1] :]
    return rng.choice([b"\0" + rng.randbytes(4), b"\xc3\x01" + rng.randbytes(8)]) + body


def _wrong_schema(rng: Random, value: bytes, at_hand: Source) -> bytes:
    other = rng.choice(at_hand.intact)
    return other[: parse_prefix(other)[1]] + value[parse_prefix(value)[1] :]


def _broken_schema(rng: Random, value: bytes, at_hand: Source) -> bytes:
    return rng.choice(at_hand.broken) + value[parse_prefix(value)[1] :]


def _large(rng: Random, value: bytes, _: Source) -> bytes:
    place = _body_place(rng, value)
    filler = rng.choice([b"\x00", b"\x02", b"\x80", b"\xff", b"a"])
    return value[:place] + rng.choice([b"", b"\xa0\x8d\x06"]) + filler * (50_000 if rng.random() < 0.02 else 500)


KINDS: dict[str, Callable[[Random, bytes, Source], bytes | None]] = {
    "intact": lambda _rng, value, _: value,
    "bit flips": _bit_flips,
    "truncated": lambda rng, value, _: value[: rng.randrange(len(value))],
    "trailing bytes": lambda rng, value, _: value + rng.randbytes(rng.randrange(1, 4)),
    "spliced": _spliced,
    "absurd number": lambda rng, value, _: _replaced(rng, value, BOMBS),
    "overlong number": _overlong,
    "blocks": _blocks,
    "not UTF-8": lambda rng, value, _: _replaced(rng, value, BAD_TEXT),
    "noise": _noise,
    "unknown schema": _unknown_schema,
    "wrong schema": _wrong_schema,
    "broken schema": _broken_schema,
    "large": _large,
    "null": lambda _rng, _value, _: None,
}
_KINDS = [kind for kind in KINDS for _ in range(1 if kind in ("null", "large") else 5)]
