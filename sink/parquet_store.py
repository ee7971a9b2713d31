"""Stores rows as Parquet files, each named after the partition and the offsets that it holds.

A file is written under a temporary name and renamed when it is complete, so the names say exactly what is stored: a
sink that starts goes on behind the last file. While it writes a partition it locks it, and the kernel releases the
locks of a process that was killed.
"""

import fcntl
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import DependencyDownError, UserError
from common.text import shown
from sink.batch import FencedError, Loss, Origin, Part, Stored
from sink.columns import RECORD, Column, Kind
from sink.rows import Row
from sink.schema import UNREADABLE, UNREADABLE_COLUMNS

_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_NO_ID = "no-topic-id"
_TYPES: Mapping[Kind, Any] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "double": pa.float64(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "decimal": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "local_timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "json": pa.string(),
}


class ParquetStore:
    """A directory: TABLE/TOPIC_ID/PARTITION/FIRST-LAST.parquet, and the same below `unreadable/`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[Origin, TextIO] = {}
        self._next: dict[Origin, int | None] = {}

    def prepare(self, topics: dict[str, str]) -> None:
        """Check that the tables hold no records of other topics; see `sink.batch.Store`."""
        for table, topic in topics.items():
            note = self._root / table / ".topic"
            try:
                note.parent.mkdir(parents=True, exist_ok=True)
                if not note.exists():
                    note.write_text(topic, encoding="utf-8")
                held = note.read_text(encoding="utf-8")
            except OSError as error:
                raise UserError(f"{shown(note)}: {error.strerror}; choose another directory") from error
            if held != topic:
                raise UserError(
                    f"{shown(note.parent)} holds records of topic {shown(held)}, not of {topic}; give each pipeline a "
                    "directory of its own"
                )

    def columns(self, table: str) -> dict[str, Column]:  # noqa: ARG002 - see `sink.batch.Store`
        """None: each file has the columns of its rows."""
        return {}

    def start(self, origin: Origin) -> Stored:
        """Lock the partition, and see how far the files go; see `sink.batch.Store`."""
        directory = self._directory(origin)
        try:
            former = None if directory.is_dir() else self._former_id(origin)
            if former is None:
                directory.mkdir(parents=True, exist_ok=True)
            self._lock(origin)
            held = _ends(directory)
            next_offset = max(held, default=None)
            self._remove_uncommitted(origin, next_offset)
        except OSError as error:
            raise _down(error) from error
        self._next[origin] = next_offset
        return Stored(next_offset, former)

    def release(self, origin: Origin) -> None:
        """Release the partition's lock."""
        if (lock := self._locks.pop(origin, None)) is not None:
            lock.close()

    def skip(self, loss: Loss) -> None:
        """Go on behind the gap, which the names of the files show."""
        if loss.reason == "created_again":
            self._directory(loss.origin).mkdir(parents=True, exist_ok=True)
        self._next[loss.origin] = loss.resume

    def write(self, parts: Sequence[Part]) -> int:
        """See `sink.batch.Store`. Parts of different partitions are stored one after the other."""
        for part in parts:
            if part.origin not in self._locks or self._next[part.origin] not in {part.expected, part.first}:
                raise FencedError(f"{part.origin.topic}/{part.origin.partition} is not this sink's")
            name = f"{part.first:020}-{part.end - 1:020}.parquet"
            try:
                # The file of the rows comes last: it is what counts.
                if part.unreadable:
                    columns = [*RECORD, *UNREADABLE_COLUMNS]
                    _write(self._directory(part.origin, UNREADABLE) / name, columns, part.unreadable)
                _write(self._directory(part.origin) / name, part.table.columns, part.rows)
            except OSError as error:
                raise _down(error) from error
            self._next[part.origin] = part.end
        return 0

    def close(self) -> None:
        """Release all locks."""
        for origin in list(self._locks):
            self.release(origin)

    def _directory(self, origin: Origin, above: str = "") -> Path:
        return self._root / above / origin.table / _directory_name(origin) / str(origin.partition)

    def _former_id(self, origin: Origin) -> str | None:
        """Id of an earlier topic with files of the partition."""
        found = (path.parent for path in (self._root / origin.table).glob(f"*/{origin.partition}") if _ends(path))
        newest = max(found, key=lambda directory: directory.stat().st_mtime, default=None)
        return None if newest is None else newest.name

    def _lock(self, origin: Origin) -> None:
        if origin in self._locks:
            return
        path = self._root / origin.table / f".{_directory_name(origin)}-{origin.partition}.lock"
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise DependencyDownError(
                "destination", f"another sink writes {origin.topic}/{origin.partition} to {shown(self._root)}"
            ) from error
        self._locks[origin] = lock

    def _remove_uncommitted(self, origin: Origin, next_offset: int | None) -> None:
        """Remove what a sink left that was killed while it wrote."""
        for above in ("", UNREADABLE):
            directory = self._directory(origin, above)
            for path in directory.glob(".*.tmp"):
                path.unlink()
        for path in self._directory(origin, UNREADABLE).glob("*.parquet"):
            if next_offset is None or _end(path) > next_offset:
                path.unlink()


def _directory_name(origin: Origin) -> str:
    """The topic's id as Kafka's own tools write it: librdkafka writes characters that paths cannot have."""
    return origin.topic_id.replace("/", "_").replace("+", "-") or _NO_ID


def _end(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return 0 if found is None else int(found[2]) + 1


def _ends(directory: Path) -> list[int]:
    return [end for path in directory.glob("*.parquet") if (end := _end(path))]


def _write(path: Path, columns: Iterable[Column], rows: Sequence[Row]) -> None:
    each = list(columns)
    arrays = [_array(column, [row.get(column.name) for row in rows]) for column in each]
    content = pa.Table.from_arrays(arrays, names=[column.name for column in each])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(content, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _array(column: Column, values: list[Any]) -> Any:
    if column.kind == "decimal":
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, _TYPES[column.kind])


def _down(error: OSError) -> DependencyDownError:
    return DependencyDownError("destination", f"{shown(error.filename or 'the directory')}: {error.strerror}")
