"""Columns of a table: one for each field of its records, with a name that every database accepts."""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias, get_args

from schemas.errors import IncompatibleSchemaError

Kind: TypeAlias = Literal[
    "boolean", "integer", "double", "text", "bytes", "decimal", "timestamp", "local_timestamp", "date", "json"
]
"""Type of a column's values, whatever the destination."""
KINDS: tuple[Kind, ...] = get_args(Kind)

MOST_COLUMNS = 1000
"""PostgreSQL allows 1600, SQLite 2000."""
_LONGEST_NAME = 63  # bytes, PostgreSQL's limit
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# PostgreSQL's system columns.
_SYSTEM = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind


RECORD = (
    Column("kafka_topic_id", "text"),
    Column("kafka_partition", "integer"),
    Column("kafka_offset", "integer"),
    Column("kafka_timestamp", "timestamp"),
    Column("kafka_key", "text"),
    Column("kafka_headers", "json"),
)
"""Of every table: where the record stands in Kafka, and its parts besides the value. The first three are the key."""
PRIMARY_KEY = tuple(column.name for column in RECORD[:3])
_RESERVED = _SYSTEM | {column.name for column in RECORD}


class Columns:
    """The columns of a table, by field of its records. Columns are only ever added."""

    def __init__(self, known: Mapping[str, Column]) -> None:
        """Start with the columns that the destination already has."""
        self.by_field = dict(known)
        self._taken = _RESERVED | {column.name.lower() for column in known.values()}

    def __iter__(self) -> Iterator[Column]:
        """Those of `RECORD`, then those of the fields."""
        yield from RECORD
        yield from self.by_field.values()

    def add(self, fields: Mapping[str, Kind]) -> None:
        """Add columns for those fields that have none; all of them or, after an error, none.

        Raises:
            IncompatibleSchemaError: a field has a column of another kind, or the table has too many columns.
        """
        for field, kind in fields.items():
            column = self.by_field.get(field)
            if column is not None and column.kind != kind:
                raise IncompatibleSchemaError(
                    f"field {field!r} is {kind}, but its column {column.name} holds values of the kind {column.kind}"
                )
        new = {field: kind for field, kind in fields.items() if field not in self.by_field}
        if len(self.by_field) + len(new) > MOST_COLUMNS:
            raise IncompatibleSchemaError(f"the table would have more than {MOST_COLUMNS} columns")
        for field, kind in new.items():
            column = Column(_free_name(field, self._taken), kind)
            self._taken.add(column.name.lower())
            self.by_field[field] = column


def _free_name(field: str, taken: set[str]) -> str:
    """The field's name; a changed one, with a digest, if a database would refuse it or it is taken."""
    # SQLite compares names without case.
    if _PLAIN.fullmatch(field) and len(field) <= _LONGEST_NAME and field.lower() not in taken:
        return field
    digest = sha256(field.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    plain = re.sub(r"[^A-Za-z0-9_]", "_", field)
    return f"{'_' if plain[:1].isdigit() else ''}{plain[:50]}_{digest}"
