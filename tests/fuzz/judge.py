"""Judges a batch by columns, record by record, and by fastavro and Pydantic alone, and insists on one answer."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, getcontext
from io import BytesIO
from typing import Any

import numpy as np
from fastavro import schemaless_reader, schemaless_writer, validate
from pydantic import BaseModel, ValidationError

from common.arrays import Int
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.load import Schema, parsed
from schemas.text_column import TextColumn
from schemas.wire import SchemaKey, parse_prefix
from tests.flagship import PIPELINE
from tests.fuzz.writers import READER, Writers
from worker.score.decode import Decoder
from worker.score.readings import Readings, Rejection
from worker.score.validate import Validator

getcontext().prec = 60
SOURCE = PIPELINE.input
SENSORS = SOURCE.sensors()
MODEL = SOURCE.record_model
_YEAR_2000_MS, _YEAR_2100_MS = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2000, 2100))
_ANY = {SOURCE.key: "m", SOURCE.group: "r", SOURCE.time: 1}


class DifferenceError(AssertionError):
    """Two ways of reading disagree; the text has the value in hex."""


class _CountingDecoder(Decoder):
    one_by_one = 0

    def _decode_one(
        self, row: int, value: bytes, framing: SchemaKey | UnreadableValueError | None
    ) -> dict[str, Any] | Rejection:
        self.one_by_one += 1
        return super()._decode_one(row, value, framing)


class Judge:
    """Reads batches of one set of writers.

    Attributes:
        by_columns: values that were read by columns alone so far.
        proven: values of which fastavro alone could tell whether they are valid.
    """

    def __init__(self, writers: Writers) -> None:
        self._writers = writers
        self._decoder = _CountingDecoder(SOURCE, writers)
        self._validator = Validator(SOURCE)
        self._reference: dict[SchemaKey, Schema | None] = {}
        self._schemas: dict[SchemaKey, Schema] = {}
        self.by_columns = self.proven = 0

    def decode(self, values: Sequence[bytes | None]) -> tuple[Readings, list[Rejection]]:
        """The worker's decode stage."""
        already = self._decoder.one_by_one
        readings, rejections = self._decoder(values)
        nulls = sum(v is None for v in values)
        self.by_columns += len(values) - nulls - (self._decoder.one_by_one - already)
        return readings, rejections

    def validate(self, readings: Readings, keys: TextColumn, broker_ts: Int) -> list[Rejection]:
        """The worker's validation stage, whose verdicts and masks are those of the Pydantic model."""
        valid, rejections = self._validator(readings, keys, broker_ts)
        reasons = {r.row: r.reason for r in rejections}
        place = {row: i for i, row in enumerate(valid.readings.row.tolist())}
        for i, row in enumerate(readings.row.tolist()):
            record = as_record(readings, i)
            masked = [s for s in SENSORS if record[s] is not None and not accepts(MODEL, _ANY | {s: record[s]})]
            expected = expected_reason(record, masked, keys[row], int(broker_ts[row]))
            if reasons.get(row) != expected:
                raise DifferenceError(f"validation says {reasons.get(row)} and the model {expected}: {record}")
            if expected is None and [s for j, s in enumerate(SENSORS) if valid.masked[place[row], j]] != masked:
                raise DifferenceError(f"validation masks others than {masked}: {record}")
        return rejections

    def compare(self, values: Sequence[bytes | None], readings: Readings, rejections: list[Rejection]) -> None:
        """See that what the decode stage gave is what record by record and fastavro alone give.

        Raises:
            DifferenceError: it is not.
        """
        reasons = {r.row: r.reason for r in rejections}
        records = {row: as_record(readings, i) for i, row in enumerate(readings.row.tolist())}
        if sorted([*reasons, *records]) != list(range(len(values))):
            raise DifferenceError("the decode stage lost or doubled a row")
        for row, value in enumerate(values):
            if value is None:
                _same(reasons.get(row), "null_value", b"", "null")
                continue
            try:
                record = decode(value, self._writers, READER)
            except UnreadableValueError as error:
                _same(reasons.get(row), error.reason, value, "columns, record by record")
                record = None
            else:
                _same(comparable(records.get(row)), comparable(record), value, "columns, record by record")
            self._compare_with_fastavro(value, record)

    def _compare_with_fastavro(self, value: bytes, record: dict[str, Any] | None) -> None:
        """fastavro is lenient: only where it fails, or gives back the very bytes, does it tell what is valid."""
        try:
            key, start = parse_prefix(value)
            writer = self._writer(key)
        except UnreadableValueError:
            writer = None
        if writer is None:
            self.proven += 1
            _same(record, None, value, "record by record, no schema")
            return
        body = BytesIO(value[start:])
        try:
            raw = schemaless_reader(body, writer, None)
            consumed = body.tell() == len(value) - start
        except Exception:  # noqa: BLE001 - fastavro fails in many ways on bytes that are no value
            consumed = False
        if not consumed:
            self.proven += 1
            _same(record, None, value, "record by record, fastavro")
            return
        again = BytesIO()
        try:
            schemaless_writer(again, writer, raw)
        except Exception:  # noqa: BLE001 - it read what cannot be written, so it read too leniently to be a judge
            return
        # Nor does it mind an int of more than 32 bits.
        if again.getvalue() == value[start:] and validate(raw, writer, raise_errors=False):
            self.proven += 1
            _same(
                comparable(record), comparable(resolved(self._schemas[key], raw)), value, "record by record, fastavro"
            )

    def _writer(self, key: SchemaKey) -> Schema | None:
        """The schema for fastavro's own reading, logical types left out; None where there is none to read with."""
        if key not in self._reference:
            schema = self._writers(key)
            self._schemas[key] = schema
            try:
                plain = _plain(schema.get("type") if isinstance(schema.get("type"), list) else schema)
                self._reference[key] = parsed(plain) if may_be_read(schema) else None
            except Exception:  # noqa: BLE001 - whatever JSON a registry holds
                self._reference[key] = None
        return self._reference[key]


def as_record(readings: Readings, i: int) -> dict[str, Any]:
    """A reading in columns as the record it stands for."""
    values, present = readings.values[i].tolist(), readings.present[i].tolist()
    sensors = {s: v if there else None for s, v, there in zip(SENSORS, values, present, strict=True)}
    return {SOURCE.key: readings.key[i], SOURCE.group: readings.group[i], SOURCE.time: int(readings.ts[i]), **sensors}


def comparable(record: dict[str, Any] | None) -> Any:
    """Such that equal means the same bits, a NaN's included."""
    if record is None:
        return None
    sensors = [None if record[s] is None else struct.pack("<d", record[s]) for s in SENSORS]
    return record[SOURCE.key], record[SOURCE.group], record[SOURCE.time], sensors


def may_be_read(schema: Any) -> bool:
    """Whether a schema has what a reading needs, by Avro's rules of resolution and ours."""
    if isinstance(schema, dict) and isinstance(schema.get("type"), list):
        schema = next(branch for branch in schema["type"] if branch != "null")
    if not isinstance(schema, dict) or schema["type"] != "record" or schema["name"].split(".")[-1] != "SensorReading":
        return False
    words = str(schema)
    if (
        words.count("'name': 'SensorReading'") + words.count("'type': 'SensorReading'") > 1
        or "'items': 'null'" in words
    ):
        return False  # recursive, or with arrays of nothing
    theirs = {f["name"]: f["type"] for f in schema["fields"]}
    for field in READER["fields"]:
        name = next((n for n in (field["name"], *field.get("aliases", ())) if n in theirs), None)
        if name is None and "default" not in field:
            return False
        if name is not None and "local-timestamp" in str(theirs[name]) and field["name"] == SOURCE.time:
            return False
    return True


def resolved(writer: Schema, raw: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a writer's record is to us, by Avro's rules and our conversions; None where a value's type is not ours."""
    if raw is None:
        return None  # the null of a top-level union
    record: dict[str, Any] = {}
    for field in READER["fields"]:
        ours = field["name"]
        name = next((n for n in (ours, *field.get("aliases", ())) if n in raw), None)
        logical = [] if name is None else _logical_types(writer, name)
        read: Any = _as_number if ours in SENSORS else _as_time if ours == SOURCE.time else _as_text
        try:
            record[ours] = read(None if name is None else raw[name], logical)
            if SOURCE.rules(ours).kind == "whole" and isinstance(record[ours], float):
                return None
        except ValueError:
            return None
    return record


def _logical_types(writer: Schema, name: str) -> list[Schema]:
    record = writer if writer.get("type") == "record" else next(b for b in writer["type"] if b != "null")
    branches = next(f["type"] for f in record["fields"] if f["name"] == name)
    listed = branches if isinstance(branches, list) else [branches]
    return [branch for branch in listed if isinstance(branch, dict) and "logicalType" in branch]


# Each works in another way than the code that is judged, and raises a ValueError for what is no such value.


def _as_number(value: Any, logical: list[Schema]) -> Any:
    if isinstance(value, bytes) and value and logical and logical[0]["logicalType"] == "decimal":
        return float(Decimal(int.from_bytes(value, signed=True)).scaleb(-logical[0]["scale"]))
    if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError(value)  # noqa: TRY004 - one kind of error for all
    return value


def _as_time(value: Any, logical: list[Schema]) -> int:
    if isinstance(value, str):
        moment = datetime.fromisoformat(value.encode("ascii").decode())
        if moment.tzinfo is None or len(value) < len("2026-01-01T00:00"):
            raise ValueError(value)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)  # noqa: TRY004 - one kind of error for all
    per_ms = {"timestamp-micros": 1000, "timestamp-nanos": 1_000_000}
    divisor = per_ms.get(logical[0]["logicalType"], 1) if logical else 1
    return int((Decimal(value) / divisor).to_integral_value(ROUND_FLOOR))


def _as_text(value: Any, logical: list[Schema]) -> str:
    if isinstance(value, bytes) and not any(each["logicalType"] == "decimal" for each in logical):
        return value.decode()
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - one kind of error for all
    return value


def accepts(model: type[BaseModel], record: dict[str, Any]) -> bool:
    """Whether the model takes the record."""
    try:
        model.model_validate(record)
    except ValidationError:
        return False
    return True


def expected_reason(record: dict[str, Any], masked: list[str], key: str, broker_ts: int) -> str | None:
    """What becomes of a record by the rules of docs/operations.md, told by the model alone."""
    rest, ts = record | dict.fromkeys(masked), record[SOURCE.time]
    # A time in another unit breaks the model's rule, too; the reason that names the unit says more.
    unit = next((u for u in (1000, 1_000_000) if _YEAR_2000_MS <= ts // u < _YEAR_2100_MS), None)
    if not accepts(MODEL, rest | ({SOURCE.time: ts // unit} if unit else {})) or all(rest[s] is None for s in SENSORS):
        return "invalid"
    if key != record[SOURCE.key]:
        return "wrong_key"
    if unit or ts < _YEAR_2000_MS <= broker_ts:
        return "implausible_time"
    if broker_ts < 0:
        return "no_timestamp"
    return "future" if ts > broker_ts + SOURCE.max_future_ms else None


def _same(ours: Any, theirs: Any, value: bytes, who: str) -> None:
    if ours != theirs:
        raise DifferenceError(f"{who}: {ours} and {theirs} of {value[:4000].hex()}")


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _plain(v) for k, v in schema.items() if k not in ("logicalType", "aliases", "default")}
    return [_plain(v) for v in schema] if isinstance(schema, list) else schema


def message_keys(readings: Readings, rows: int, wrong: Any) -> TextColumn:
    """Kafka keys of a batch: those of the readings, but for the rows where `wrong` is true."""
    keys = [b"other"] * rows
    for i, row in enumerate(readings.row.tolist()):
        if not wrong[row]:
            keys[row] = readings.key[i].encode()
    return TextColumn.of(keys)


def broker_times(rows: int, when_ms: int, given: Any) -> Int:
    """Kafka timestamps of a batch, -1 where `given` is false."""
    return np.where(given, when_ms, -1).astype(np.int64)
