"""Record batches that no client library would write: encoded here byte for byte and sent in a Produce request."""

import socket
import struct
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
_PRODUCE = 0
_NO_LEADER_YET = {3, 6}  # for a moment after a topic was made


class Raw(NamedTuple):
    """A record as it goes on the wire: names of headers are bytes, too."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes | None]] = ()


def records_section(records: Iterable[Raw]) -> bytes:
    """The part of a batch that is compressed."""
    return b"".join(_record(i, record) for i, record in enumerate(records))


def batch(section: bytes, count: int, *, codec: int = 0, timestamp_ms: int = 1_780_000_000_000) -> bytes:
    """A version 2 record batch.

    Args:
        section: see `records_section`, compressed with the codec.
        count: of records.
        codec: number of the compression codec.
        timestamp_ms: of all records.
    """
    after_crc = struct.pack(">hiqqqhii", codec, count - 1, timestamp_ms, timestamp_ms, -1, -1, -1, count) + section
    head = struct.pack(">ib", 0, 2) + struct.pack(">I", crc32c(after_crc))
    return struct.pack(">qi", 0, len(head) + len(after_crc)) + head + after_crc


def produce(bootstrap: str, topic: str, partition: int, encoded: bytes) -> int:
    """Send a batch to a cluster of one broker.

    Returns:
        The offset of its first record.
    """
    name = topic.encode()
    body = struct.pack(">hhi", -1, -1, 30_000)  # no transactional id; acks of all; timeout
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, partition, len(encoded)) + encoded
    deadline = time.monotonic() + 20
    while True:
        # Version 7 is the first that may carry zstd.
        answer = _ask(bootstrap, 7, body)
        _, error, offset = struct.unpack_from(">ihq", answer, 4 + 2 + len(name) + 4)
        if error not in _NO_LEADER_YET or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert error == 0, f"the broker refused the batch: error {error}"
    return int(offset)


def _ask(bootstrap: str, version: int, body: bytes) -> bytes:
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    head = struct.pack(">hhih", _PRODUCE, version, 1, 3) + b"raw"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size = struct.unpack(">i", _exactly(connection, 4))[0]
        return _exactly(connection, size)[4:]


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        some = connection.recv(size - len(data))
        assert some, "the broker closed the connection: it does not understand the request"
        data += some
    return data


def _record(number: int, record: Raw) -> bytes:
    body = b"\0" + _varint(0) + _varint(number) + _bytes(record.key) + _bytes(record.value)
    body += _varint(len(record.headers))
    for name, value in record.headers:
        body += _bytes(name) + _bytes(value)
    return _varint(len(body)) + body


def _bytes(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of a version 2 batch (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF
