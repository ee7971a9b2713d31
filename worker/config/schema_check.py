"""Checks that the schema of an output can hold what is written to it: samples are encoded and decoded."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from fastavro.schema import UnknownType

from common.environment import closest
from common.text import shown
from schemas.avro_record import AvroRecord
from schemas.codec import compile_decoder, encode
from schemas.columnar_encoder import Column, Flags, Nullable, NumberMap, encode_columns
from schemas.load import Schema, parsed
from schemas.resolution import expanded, named_types
from schemas.text_column import TextColumn
from worker.config.inputs_outputs import Input
from worker.config.output_fields import OutputField
from worker.config.written_fields import WrittenField

_MILLISECONDS = "timestamp-millis"
_ALIKE = 0.6


def schema_faults(
    record: AvroRecord, written: Mapping[str, WrittenField], source: Input, *, columnar: bool
) -> Iterator[str]:
    """What keeps a record from being the one of an output.

    Args:
        record: that the pipeline names for it.
        written: the fields that are written, by name in the schema.
        source: the input, whose fields may be copied.
        columnar: whether they are written in columns, so that each field of the schema must be one of them.
    """
    named = named_types(record.schema)
    fields = {field["name"]: field | {"type": expanded(field["type"], named)} for field in record.schema["fields"]}
    for field, each in written.items():
        if field not in fields and not each.field.optional:
            advice = _add(written, field, fields)
            yield f"{shown(record.file)}: no field {shown(field)!r}, which is written; {advice}"
    for field, declared in fields.items():
        if field in written:
            name, wanted = written[field][:2]
            if not _holds(declared, wanted, columnar=columnar):
                unit = " (ms since 1970)" if wanted.is_time else ""
                yield (
                    f"{record.place(field)} cannot hold the worker's {name!r}{unit}; "
                    f"declare it as {json.dumps(wanted.type)}"
                )
        elif columnar or "default" not in declared:
            yield f"{record.place(field)}: nothing is written to it{_unwritten(field, written, source)}"


def _unwritten(field: str, written: Mapping[str, WrittenField], source: Input) -> str:
    if field in source.record.rules:
        return "; name it as key, group or time of input, or copy it with outputs.echo, or take it out"
    hint = closest(field, written, _ALIKE)
    meant = f" (did you mean {hint!r}?)" if hint else ""
    return f"{meant}; take it out, or give it a value with outputs.fields"


def _add(written: Mapping[str, WrittenField], field: str, fields: Mapping[str, Any]) -> str:
    hint = closest(field, fields, _ALIKE)
    if hint and hint not in written:
        return f"did you mean {hint!r}? Then map it: outputs.fields: {{{written[field].engine_name}: {hint}}}"
    return f"add it as {json.dumps(written[field].field.type)}, or name the field that carries it in outputs.fields"


def _holds(field: Schema, written: OutputField, *, columnar: bool) -> bool:
    logical = _logical_types(field["type"])
    if logical - ({_MILLISECONDS, f"local-{_MILLISECONDS}"} if written.is_time else set()):
        return False
    trial: Schema = {
        "type": "record",
        "name": "Trial",
        "fields": [{key: part for key, part in field.items() if key not in {"default", "aliases"}}],
    }
    try:
        return all(_comes_back(trial, field["name"], value, columnar=columnar) for value in written.samples)
    except UnknownType:  # a type that another field defines
        return True
    except Exception:  # noqa: BLE001 - whatever an encoder trips over, it is no place for the value
        return False


def _comes_back(schema: Schema, field: str, value: Any, *, columnar: bool) -> bool:
    if columnar:
        (written,) = encode_columns(schema, {field: _column(value)}, 1, b"")
    else:
        written = encode({field: value}, parsed(schema), b"")
    read = compile_decoder(schema, schema)(written, 0)[field]
    return json.dumps(read, sort_keys=True) == json.dumps(value, sort_keys=True)


def _column(value: Any) -> Column:
    if isinstance(value, str):
        return TextColumn.of([value.encode()])
    if isinstance(value, list):
        names = tuple(value) or ("none",)
        return Flags(np.full((1, len(names)), bool(value)), names)
    if isinstance(value, dict):
        return NumberMap(np.array([[*value.values()]]), tuple(value))
    return Nullable(np.zeros(1), np.zeros(1, np.bool_)) if value is None else np.array([value])


def _logical_types(avro_type: Any) -> set[str]:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    return {str(b["logicalType"]) for b in branches if isinstance(b, dict) and "logicalType" in b}
