"""Stores rows as Parquet files, each named after the partition and the offsets that it holds.

A file is written under a temporary name and renamed when it is complete, so the names say exactly what is stored: a
sink that starts continues after the last file. While it writes a partition it locks it, and the kernel releases the
locks of a process that was killed.
"""

import errno
import fcntl
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from common.errors import DependencyDownError, UserError
from common.text import shown
from sink.batch import FencedError, Loss, Origin, Part, Stored, refused_row
from sink.columns import Column, Columns
from sink.parquet_file import columns_in, make_directory, table_of, write
from sink.rows import UNREADABLE_FIELDS, Row
from sink.schema import UNREADABLE

_NAME = re.compile(r"(\d{20})-(\d{20})\.parquet")
_NO_ID = "no-topic-id"
_OF_UNREADABLE = Columns({})
_OF_UNREADABLE.add(UNREADABLE_FIELDS)
_REFUSALS = (ValueError, OverflowError, TypeError)  # of Arrow, about a value
# Errors after which it makes no sense to wait: the user has to choose another directory.
_USELESS = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EROFS}


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
                make_directory(note.parent)
                held = _noted(note, topic)
            except OSError as error:
                if error.errno in _USELESS:
                    raise UserError(f"{shown(note)}: {error.strerror}; choose another directory") from error
                raise _down(error) from error
            if held != topic:
                raise UserError(
                    f"{shown(note.parent)} holds records of topic {shown(held)}, not of {topic}; give each pipeline a "
                    "directory of its own"
                )

    def columns(self, table: str) -> dict[str, Column]:
        """Those of the newest file of each partition; see `sink.batch.Store`."""
        found: dict[str, Column] = {}
        try:
            for directory in sorted((self._root / table).glob("*/*")):
                if newest := max((path for path in directory.glob("*.parquet") if _end(path)), default=None):
                    found |= columns_in(newest)
        except OSError as error:
            raise _down(error) from error
        return found

    def start(self, origin: Origin) -> Stored:
        """Lock the partition, and see how far the files go; see `sink.batch.Store`."""
        directory = self._directory(origin)
        try:
            former = None if directory.is_dir() else self._former_id(origin)
            if former is None:
                make_directory(directory)
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
            try:
                make_directory(self._directory(loss.origin))
            except OSError as error:
                raise _down(error) from error
        self._next[loss.origin] = loss.resume

    def write(self, parts: Sequence[Part]) -> int:
        """See `sink.batch.Store`. Parts of different partitions are stored one after the other."""
        all_refused = 0
        for part in parts:
            if part.origin not in self._locks or self._next[part.origin] not in {part.expected, part.first}:
                raise FencedError(f"{part.origin.topic}/{part.origin.partition} is not this sink's")
            name = f"{part.first:020}-{part.end - 1:020}.parquet"
            content, refused = _accepted(part)
            try:
                # The file of the rows comes last: it is what counts.
                if unreadable := [*part.unreadable, *refused]:
                    write(self._directory(part.origin, UNREADABLE) / name, table_of(_OF_UNREADABLE, unreadable))
                write(self._directory(part.origin) / name, content)
            except OSError as error:
                raise _down(error) from error
            self._next[part.origin] = part.end
            all_refused += len(refused)
        return all_refused

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


def _accepted(part: Part) -> tuple[pa.Table, list[Row]]:
    """The rows that Arrow takes, and unreadable records in place of the others."""
    columns = part.table.columns
    try:
        return table_of(columns, part.rows), []
    except _REFUSALS:
        accepted, refused = [], []
        for row, message in zip(part.rows, part.messages, strict=True):
            try:
                table_of(columns, [row])
                accepted.append(row)
            except _REFUSALS as error:
                refused.append(refused_row(part, message, error))
        return table_of(columns, accepted), refused


def _noted(note: Path, topic: str) -> str:
    """The topic that a table's note names; first the given one is noted, unless there is one."""
    if not note.exists():
        mine = note.with_name(f"{note.name}.{os.getpid()}.tmp")
        mine.write_text(topic, encoding="utf-8")
        try:
            # Another sink may do the same at this moment; a note is there as a whole or not at all.
            with suppress(FileExistsError):
                note.hardlink_to(mine)
        finally:
            mine.unlink()
    return note.read_text(encoding="utf-8")


def _directory_name(origin: Origin) -> str:
    """The topic's id as Kafka's own tools write it: librdkafka writes characters that paths cannot have."""
    return origin.topic_id.replace("/", "_").replace("+", "-") or _NO_ID


def _end(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return 0 if found is None else int(found[2]) + 1


def _ends(directory: Path) -> list[int]:
    return [end for path in directory.glob("*.parquet") if (end := _end(path))]


def _down(error: OSError) -> DependencyDownError:
    return DependencyDownError("destination", f"{shown(error.filename or 'the directory')}: {error.strerror}")
