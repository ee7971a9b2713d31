"""The decode stage: message values, in any wire format and of any writer's schema, to columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache

from common.arrays import Int
from common.dead_letter_reasons import DeadLetterReason
from common.errors import DependencyDownError, PendingSchemaError
from schemas.codec import DECODERS_KEPT, decoder_for
from schemas.columnar_decoder import PADDING, Decoded, Plan, decode_columns, decoding_plan
from schemas.errors import UnreadableValueError
from schemas.load import Schema
from schemas.resolution import aligned, field_conversions, union_branches
from schemas.text_column import Bytes, NullableText, TextColumn
from schemas.wire import CONFLUENT_MAGIC, LONG_ID_PREFIX_LENGTH, SINGLE_OBJECT_MARKER, SchemaKey, parse_prefix
from worker.config.inputs_outputs import Input
from worker.score.columns import columns_of
from worker.score.readings import Readings, Rejection

WriterSchemaOf = Callable[[SchemaKey], Schema]
"""Writer's schema by its key. Raises UnknownSchemaError, or DependencyDownError while the registry does not answer."""

_CONFLUENT_BYTES = np.uint64(0xFF_FFFF_FFFF)  # magic byte and id, as the low bytes of a little-endian number
_NO_FRAMING: "Framed" = {}

Framed = Mapping[int, SchemaKey | UnreadableValueError]
"""What names the schema in a message's headers, or why that cannot be used, by row; not where headers say nothing."""


class _Branch(NamedTuple):
    """How to decode values of one branch of a top-level union, or (number None) of a schema that is none."""

    number: int | None
    plan: Plan


class Decoder:
    """Decodes batches of one input."""

    def __init__(self, source: Input, writer_schema_of: WriterSchemaOf) -> None:
        self._source = source
        self._sensors, self._categories = source.sensors(), source.categories()
        self._reader = source.reader_schema
        self._writer_schema_of = writer_schema_of
        self._utc_offset_ms = source.utc_offset_ms
        self._plans: LRUCache[SchemaKey, list[_Branch]] = LRUCache(DECODERS_KEPT)

    def __call__(
        self, values: Sequence[bytes | None], framed: Framed = _NO_FRAMING
    ) -> tuple[Readings, list[Rejection]]:
        """Decode a batch.

        Args:
            values: of the messages.
            framed: what their headers say.

        Returns:
            The readings in batch order, and a rejection for each value that is no reading.

        Raises:
            PendingSchemaError: the schema of some rows is not known yet and the registry does not answer. Call again
                later, or without them.
        """
        rejections = [
            Rejection(row, DeadLetterReason.NULL_VALUE, "the message has no value")
            for row, value in enumerate(values)
            if value is None
        ]
        texts = [value or b"" for value in values]
        length = np.fromiter(map(len, texts), np.int64, len(texts))
        buffer = np.frombuffer(b"".join((*texts, bytes(PADDING))), np.uint8)
        start = np.cumsum(length) - length
        parts, left = [], np.array([value is not None for value in values], np.bool_)
        down, pending = None, list[int]()
        for schema_key, body, rows in self._by_schema(texts, buffer, start, length, framed):
            if down is not None and schema_key not in self._plans:
                pending += rows.tolist()  # one unanswered request is enough
                continue
            try:
                plan = self._plan(schema_key)
            except DependencyDownError as error:
                down, pending = error, rows.tolist()
                continue
            for branch in plan:
                these, at = rows, body
                if branch.number is not None:
                    these, at = rows[buffer[start[rows] + body] == 2 * branch.number], body + 1
                columns = decode_columns(branch.plan, buffer, start[these] + at, (start + length)[these])
                part = self._part(these, columns)
                parts.append(part)
                left[part.row] = False
        if down is not None:
            raise PendingSchemaError(down, pending)
        one_by_one = {row: self._decode_one(row, texts[row], framed.get(row)) for row in np.flatnonzero(left).tolist()}
        rejections += [found for found in one_by_one.values() if isinstance(found, Rejection)]
        records = {row: found for row, found in one_by_one.items() if not isinstance(found, Rejection)}
        if records:
            parts.append(columns_of(self._source, np.array(list(records)), list(records.values())))
        return self._readings(parts), rejections

    @staticmethod
    def _by_schema(
        texts: list[bytes], buffer: Bytes, start: Int, length: Int, framed: Framed
    ) -> Iterator[tuple[SchemaKey, int, Int]]:
        """The distinct schema keys of a batch, where the body begins, and the rows that have them."""
        words = np.ndarray(len(buffer) - 7, "<u8", buffer, strides=(1,))
        confluent = (buffer[start] == CONFLUENT_MAGIC[0]) & (length >= 5)
        single = (words[start] & np.uint64(0xFFFF)) == int.from_bytes(SINGLE_OBJECT_MARKER, "little")
        single &= length >= 10
        if framed:
            rows = np.fromiter(framed, np.int64, len(framed))
            confluent[rows] = single[rows] = False
            named: dict[SchemaKey, list[int]] = {}
            for row, key in framed.items():
                if not isinstance(key, UnreadableValueError) and length[row]:
                    named.setdefault(key, []).append(row)
            for key, of_key in named.items():
                yield key, 0, np.array(of_key)
        long_id = confluent & ((words[start] & _CONFLUENT_BYTES) == 0)
        confluent &= ~long_id
        long_id &= length >= LONG_ID_PREFIX_LENGTH
        name = np.where(confluent, words[start] & _CONFLUENT_BYTES, words[start + np.where(long_id, 1, 2)])
        for kind in (confluent, single, long_id):
            rows = np.flatnonzero(kind)
            names, which = np.unique(name[rows], return_inverse=True)
            for i in range(len(names)):
                same = rows[which == i]
                yield *parse_prefix(texts[same[0]]), same

    def _plan(self, schema_key: SchemaKey) -> list[_Branch]:
        if schema_key not in self._plans:
            try:
                writer = self._writer_schema_of(schema_key)
                decoder_for(writer, self._reader, self._utc_offset_ms)  # may be any JSON: this proves it a schema
            except UnreadableValueError:
                return []  # not remembered: it may be registered later
            self._plans[schema_key] = list(self._branches(writer))
        return self._plans[schema_key]

    def _branches(self, writer: Schema) -> Iterator[_Branch]:
        branches = union_branches(writer)
        for index, branch in enumerate([writer] if branches is None else branches[:64]):
            try:
                ours = aligned(branch, self._reader)
                conversions = field_conversions(ours, self._reader, self._utc_offset_ms)
            except UnreadableValueError:
                continue
            plan = decoding_plan(ours, self._reader, conversions)
            if plan is not None:
                yield _Branch(None if branches is None else index, plan)

    def _part(self, rows: Int, columns: Decoded) -> Readings:
        source, count = self._source, len(rows)
        key, group = (columns.text[f] if f else _no_texts(count) for f in (source.key_field, source.group_field))
        ts = columns.integer[source.time_field] if source.time_field else np.zeros(count, np.int64)
        values = np.full((len(rows), len(self._sensors)), np.nan)
        present = np.zeros(values.shape, np.bool_)
        for i, sensor in enumerate(self._sensors):
            if sensor in columns.present:
                sent = columns.floating[sensor] if sensor in columns.floating else columns.integer[sensor]
                present[:, i] = columns.present[sensor]
                values[:, i] = np.where(present[:, i], sent, np.nan)
        categories = {
            name: NullableText(columns.text[name], columns.present[name])
            if name in columns.present
            else NullableText(_no_texts(count), np.zeros(count, np.bool_))
            for name in self._categories
        }
        part = Readings(rows, key, group, ts, values, present, categories)
        return part.take(columns.understood)

    def _decode_one(
        self, row: int, value: bytes, framing: SchemaKey | UnreadableValueError | None
    ) -> dict[str, Any] | Rejection:
        try:
            if isinstance(framing, UnreadableValueError):
                raise framing
            schema_key, start = parse_prefix(value) if framing is None else (framing, 0)
            writer = self._writer_schema_of(schema_key)
            return decoder_for(writer, self._reader, self._utc_offset_ms)(value, start)
        except UnreadableValueError as error:
            return Rejection(row, error.reason, str(error))

    def _readings(self, parts: list[Readings]) -> Readings:
        if not parts:
            nothing, empty, none = np.empty((0, len(self._sensors))), TextColumn.of([]), np.empty(0, np.int64)
            categories = {name: NullableText(empty, np.empty(0, np.bool_)) for name in self._categories}
            return Readings(none, empty, empty, none, nothing, nothing.astype(np.bool_), categories)
        row = np.concatenate([p.row for p in parts])
        order = np.argsort(row, kind="stable")
        return Readings(
            row[order],
            TextColumn.concatenate([p.key for p in parts]).take(order),
            TextColumn.concatenate([p.group for p in parts]).take(order),
            np.concatenate([p.ts for p in parts])[order],
            np.concatenate([p.values for p in parts])[order],
            np.concatenate([p.present for p in parts])[order],
            {
                name: NullableText.concatenate([p.categories[name] for p in parts]).take(order)
                for name in self._categories
            },
        )


def _no_texts(count: int) -> TextColumn:
    return TextColumn.of([b""] * count)
