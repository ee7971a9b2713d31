"""One Parquet file: its columns, its rows, and how it gets on the disk."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.errors import UserError
from common.text import shown
from sink.columns import Column, Columns, Kind
from sink.rows import Row
from sink.sql_values import decimal_text

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
# Metadata of a file's column: the field that it holds, and the kind of its values.
_FIELD, _KIND = b"hazardstream.field", b"hazardstream.kind"


def table_of(columns: Columns, rows: Iterable[Row]) -> pa.Table:
    """The rows as Arrow has them.

    Raises:
        ValueError, OverflowError, TypeError: Arrow refuses a value.
    """
    fields = {column.name: field for field, column in columns.by_field.items()}
    each, schema = list(rows), []
    for column in columns:
        about = _metadata(fields[column.name], column.kind) if column.name in fields else None
        schema.append(pa.field(column.name, _TYPES[column.kind], metadata=about))
    arrays = [_array(column, [row.get(column.name) for row in each]) for column in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(schema))


def columns_in(path: Path) -> dict[str, Column]:
    """The columns of a file by field.

    Raises:
        UserError: the file is damaged.
    """
    found = {}
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system's, not Arrow's
            raise
        text = " ".join(str(error).split())
        raise UserError(
            f"{shown(path)} is damaged: {shown(text)}; move it to another directory and start the sink again, which "
            "stores the records of its offsets again"
        ) from error
    for field in schema:
        known = field.metadata or {}
        if _FIELD in known:
            kind: Any = known[_KIND].decode()
            found[known[_FIELD].decode("utf-8", "surrogatepass")] = Column(field.name, kind)
    return found


def write(path: Path, content: pa.Table) -> None:
    """Write a file that exists only when it is complete and on disk.

    Raises:
        OSError: it cannot be written.
    """
    make_directory(path.parent)
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
    _sync(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory and those above it, so that they outlive a power failure as their files do."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _metadata(field: str, kind: Kind) -> dict[bytes, bytes]:
    return {_FIELD: field.encode("utf-8", "surrogatepass"), _KIND: kind.encode()}


def _array(column: Column, values: Iterable[Any]) -> Any:
    if column.kind == "decimal":
        values = [None if value is None else decimal_text(value) for value in values]
    return pa.array(values, _TYPES[column.kind])
