"""What the destinations make of unusual values, of new fields, and of a second sink."""

import math
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from common.errors import DependencyDownError, UserError
from sink.batch import FencedError, Store, Stored
from sink.columns import Columns
from sink.destination import destination as destination_of
from sink.engine import database_url, reading_engine, writing_engine
from sink.queries import newest_rows
from sink.rows import unreadable_row
from sink.schema import METADATA, UNREADABLE
from sink.sql_store import SqlStore
from sink.tables import tables_of
from tests.flagship import PIPELINE
from tests.sink.records import ORIGIN, TOPIC, message, part, record_of, table, written
from tests.sink_scene import rows_of

RECORD = record_of(("s", "string"), ("d", "double"), ("j", {"type": "map", "values": "string"}))


@pytest.fixture
def store(destination: str) -> Store:
    opened = destination_of(destination, "p").store()
    opened.prepare({"predictions": TOPIC})
    opened.start(ORIGIN)
    return opened


def values(**given: Any) -> bytes:
    return written(RECORD, {"s": "", "d": 0.0, "j": {}, **given})


def test_the_values_of_records_are_stored(store: Store, destination: str) -> None:
    long = "x" * 3_000_000
    given: list[dict[str, Any]] = [{"s": "é\t\n\\N\\.'\""}, {"s": long}, {"d": math.inf}, {"j": {"a": "\x1f\u2028"}}]

    store.write([part(table(RECORD), [values(**each) for each in given])])

    rows = sorted(rows_of(destination, "predictions"), key=lambda row: row["kafka_offset"])
    assert [row["s"] for row in rows[:2]] == [given[0]["s"], long]
    assert rows[2]["d"] == math.inf
    assert [row["kafka_key"] for row in rows] == ["k"] * 4
    assert store.start(ORIGIN) == Stored(4)


def test_a_nul_character_is_replaced_in_databases_because_postgresql_refuses_it(database: str) -> None:
    opened = SqlStore(database_url(database))
    opened.prepare({"predictions": TOPIC})

    opened.write([part(table(RECORD), [values(s="a\0b", j={"\0": "\0\\u0000"})])])

    (row,) = newest_rows(reading_engine(database_url(database)))
    assert row["s"] == "a␀b"
    assert row["j"] == {"␀": "␀\\u0000"}


def test_not_a_number_is_kept_where_the_destination_can(store: Store, destination: str) -> None:
    store.write([part(table(RECORD), [values(d=math.nan)])])

    (row,) = rows_of(destination, "predictions")
    assert row["d"] is None if destination.startswith("sqlite") else math.isnan(row["d"])


def test_unreadable_and_keyless_records_and_tombstones_are_stored(store: Store, destination: str) -> None:
    store.write([part(table(RECORD), [b"", None, values(), b"\0\0\0\0\1x"])])

    rows = rows_of(destination, "predictions")
    assert sorted((row["kafka_offset"], row["s"]) for row in rows) == [(1, None), (2, "")]
    unreadable = {row["kafka_offset"]: row for row in rows_of(destination, UNREADABLE)}
    assert {offset: row["raw_value"] for offset, row in unreadable.items()} == {0: b"", 3: b"\0\0\0\0\1x"}
    assert {row["table_name"] for row in unreadable.values()} == {"predictions"}
    assert unreadable[0]["reason"] == "malformed"


def test_the_rows_of_a_second_sink_are_refused_whole(store: Store, destination: str) -> None:
    made = table(RECORD)
    other = destination_of(destination, "p").store()
    other.prepare({"predictions": TOPIC})
    store.write([part(made, [values()] * 3)])

    with pytest.raises(FencedError):
        other.write([part(made, [values()] * 5)])
    store.write([part(made, [values()] * 2, expected=3)])
    store.close()

    assert other.start(ORIGIN) == Stored(5)
    assert sorted(row["kafka_offset"] for row in rows_of(destination, "predictions")) == [0, 1, 2, 3, 4]


@contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """Writes beyond this size of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["sqlite:///{}/x.sqlite", "parquet:{}/x"])
def test_a_full_disk_is_waited_for_and_nothing_is_stored_in_part(kind: str, tmp_path: Path) -> None:
    place = kind.format(tmp_path)
    opened = destination_of(place, "p").store()
    opened.prepare({"predictions": TOPIC})
    opened.start(ORIGIN)
    batch = part(table(RECORD), [values(s=f"{i}" * 50_000) for i in range(100)])

    batch.rows[0]["s"] = random.Random(7).randbytes(500_000).hex()  # not to be compressed
    with full_disk(300_000), pytest.raises(DependencyDownError):
        opened.write([batch])
    assert rows_of(place, "predictions") == []
    opened.write([batch])

    assert len(rows_of(place, "predictions")) == 100


def test_new_fields_become_nullable_columns_also_after_a_restart(database: str) -> None:
    newer = record_of(("s", "string"), ("d", "double"), ("j", {"type": "map", "values": "string"}), ("S", "long"))
    opened = SqlStore(database_url(database))
    opened.prepare({"predictions": TOPIC})
    opened.write([part(table(RECORD), [values()])])

    again = SqlStore(database_url(database))
    again.prepare({"predictions": TOPIC})
    made = table(newer, RECORD, columns=Columns(again.columns("predictions")))
    again.write([part(made, [written(newer, {"s": "", "d": 0.0, "j": {}, "S": 7})], expected=1)])

    name = made.columns.by_field["S"].name
    rows = {row["kafka_offset"]: row[name] for row in rows_of(database, "predictions")}
    assert rows == {0: None, 1: 7}


def test_a_row_that_the_database_refuses_becomes_unreadable_and_the_others_are_stored(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SqlStore(database_url(database))
    opened.prepare({"predictions": TOPIC})
    batch = part(table(RECORD), [values(s=f"{i}") for i in range(3)])
    batch.rows[1]["s"] = "\udc80"  # no decoder gives this

    assert opened.write([batch]) == 1

    assert sorted(row["s"] for row in rows_of(database, "predictions")) == ["0", "2"]
    (refused,) = rows_of(database, UNREADABLE)
    assert (refused["reason"], refused["kafka_offset"], refused["raw_value"]) == ("refused", 1, values(s="1"))


def test_a_changed_type_of_a_field_is_reported_at_the_start() -> None:
    known = Columns({})
    known.add({"threshold": "text"})

    with pytest.raises(UserError, match=r"table predictions: field 'threshold' is double.* another database"):
        tables_of(PIPELINE, {"predictions": "t"}, lambda _: {}, lambda _: known.by_field)


def test_the_migrations_make_the_tables_that_the_sink_uses(database: str) -> None:
    SqlStore(database_url(database)).prepare({})
    engine = writing_engine(database_url(database))

    with engine.begin() as connection:
        names = METADATA.tables.keys()
        options = {"include_name": lambda name, kind, _: kind != "table" or name in names}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def test_a_parquet_directory_keeps_the_columns_and_their_kinds(tmp_path: Path) -> None:
    place = f"parquet:{tmp_path}/x"
    schema = record_of(("a-b", "string"), ("j", {"type": "array", "items": "int"}), name="Odd")
    schema["fields"][0]["name"] = "kafka_key"  # taken: the column gets another name
    opened = destination_of(place, "p").store()
    opened.prepare({"predictions": TOPIC})
    opened.start(ORIGIN)
    made = table(schema)
    opened.write([part(made, [written(schema, {"kafka_key": "v", "j": [1]})])])
    opened.close()

    assert destination_of(place, "p").store().columns("predictions") == made.columns.by_field


def test_rows_that_parquet_refuses_become_unreadable_and_the_others_are_stored(tmp_path: Path) -> None:
    place = f"parquet:{tmp_path}/x"
    opened = destination_of(place, "p").store()
    opened.prepare({"predictions": TOPIC})
    opened.start(ORIGIN)
    batch = part(table(RECORD), [values(s=f"{i}") for i in range(3)])
    batch.rows[1]["s"] = "\udc80"  # no decoder gives this

    assert opened.write([batch]) == 1

    assert [row["s"] for row in rows_of(place, "predictions")] == ["0", "2"]
    (refused,) = rows_of(place, UNREADABLE)
    assert (refused["reason"], refused["kafka_offset"], refused["raw_value"]) == ("refused", 1, values(s="1"))


def test_what_a_killed_sink_left_of_a_batch_is_removed_or_counts_as_a_whole(tmp_path: Path) -> None:
    """Killed before the file of the rows has its name: nothing of the batch is stored."""
    place, made = f"parquet:{tmp_path}/x", table(RECORD)
    first = destination_of(place, "p").store()
    first.prepare({"predictions": TOPIC})
    first.start(ORIGIN)
    first.write([part(made, [values(), b"?"])])
    first.write([part(made, [values(), b"?"], expected=2)])
    first.close()
    last = max(Path(tmp_path, "x", "predictions").rglob("*.parquet"))
    last.rename(last.with_name(f".{last.name}.tmp"))

    again = destination_of(place, "p").store()
    again.prepare({"predictions": TOPIC})

    assert again.start(ORIGIN) == Stored(2)
    assert [row["kafka_offset"] for row in rows_of(place, UNREADABLE)] == [1]
    assert not list(tmp_path.rglob(".*.tmp"))


def test_an_unreadable_record_is_stored_whatever_its_message_holds(store: Store, destination: str) -> None:
    batch = part(table(RECORD), [values()])
    batch.unreadable.append(unreadable_row(message(b"?", 1), "id", "predictions", "malformed", "\udc80 \0 \x1b[2J"))

    store.write([batch])

    (row,) = rows_of(destination, UNREADABLE)
    assert row["message"] == r"\udc80 \x00 \x1b[2J"


def test_numbers_at_the_edges_are_stored(store: Store, destination: str) -> None:
    schema = record_of(
        ("n", "long"),
        ("mixed", ["null", "long", "double"]),
        ("day", {"type": "int", "logicalType": "date"}),
        ("at", {"type": "long", "logicalType": "timestamp-micros"}),
        name="Edges",
    )
    first, last = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 and 9999
    given: list[dict[str, Any]] = [
        {"n": 2**63 - 1, "mixed": 2**53 + 1, "day": -719_162, "at": first},
        {"n": -(2**63), "mixed": -0.5, "day": 2_932_896, "at": last},
        {"n": 0, "mixed": None, "day": -1, "at": -1},
    ]

    store.write([part(table(schema), [written(schema, each) for each in given])])

    rows = sorted(rows_of(destination, "predictions"), key=lambda row: row["kafka_offset"])
    assert [row["n"] for row in rows] == [each["n"] for each in given]
    assert [row["mixed"] for row in rows] == [float(2**53), -0.5, None]
    assert [str(row["day"]) for row in rows] == ["0001-01-01", "9999-12-31", "1969-12-31"]
    if not destination.startswith("parquet"):
        shown = sorted(newest_rows(reading_engine(database_url(destination))), key=lambda row: row["kafka_offset"])
        assert [row["at"] for row in shown] == [
            "0001-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "1969-12-31T23:59:59.999999Z",
        ]


def test_the_note_of_a_directory_is_written_whole(tmp_path: Path) -> None:
    """A sink that is killed while it writes the note leaves none, rather than one that names no topic."""
    opened = destination_of(f"parquet:{tmp_path}/x", "p").store()
    opened.prepare({"predictions": TOPIC})
    opened.prepare({"predictions": TOPIC})

    assert [path.name for path in Path(tmp_path, "x", "predictions").iterdir()] == [".topic"]
    with pytest.raises(UserError, match="holds records of topic"):
        opened.prepare({"predictions": "another"})


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(40) + b"PAR1"])
def test_a_damaged_file_is_named_and_its_rows_are_stored_again_once_it_is_moved(tmp_path: Path, content: bytes) -> None:
    store = destination_of(f"parquet:{tmp_path}/x", "p").store()
    store.prepare({"predictions": TOPIC})
    store.start(ORIGIN)
    store.write([part(table(RECORD), [values()])])
    store.write([part(table(RECORD), [values()], expected=1)])
    newest = max(tmp_path.rglob("*.parquet"))
    newest.write_bytes(content)

    with pytest.raises(UserError, match=f"{newest.name} is damaged: .*; move it to another directory"):
        store.columns("predictions")

    newest.rename(tmp_path / newest.name)
    assert len(store.columns("predictions")) == 3
    assert store.start(ORIGIN) == Stored(1)
