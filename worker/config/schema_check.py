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
from schemas.columnar_encoder import Column, Flags, encode_columns
from schemas.load import Schema, parsed
from schemas.text_column import TextColumn
from worker.config.output_fields import OutputField
from worker.config.roles import Role

_MILLISECONDS = "timestamp-millis"
_ALIKE = 0.6


def schema_faults(role: Role, record: AvroRecord, schema_names: Mapping[str, str]) -> Iterator[str]:
    """What keeps a record from being the one of a role.

    Args:
        role: of the output.
        record: that the pipeline names for it.
        schema_names: names of the engine's fields in the schema, where they differ.
    """
    written = {schema_names.get(engine_name, engine_name): engine_name for engine_name in role.fields}
    fields = {field["name"]: field for field in record.schema["fields"]}
    for field, engine_name in written.items():
        if field not in fields and not (role.columnar and role.fields[engine_name].optional):
            advice = _add(role, field, engine_name, fields)
            yield f"{shown(record.file)}: no field {shown(field)!r}, which is written; {advice}"
    for field, declared in fields.items():
        if field in written:
            name = written[field]
            if not _holds(declared, role.fields[name], columnar=role.columnar):
                unit = " (ms since 1970)" if role.fields[name].is_time else ""
                yield (
                    f"{record.place(field)} cannot hold the worker's {name!r}{unit}; "
                    f"declare it as {json.dumps(role.fields[name].type)}"
                )
        elif role.columnar or "default" not in declared:
            hint = closest(field, written, _ALIKE)
            meant = f" (did you mean {hint!r}?)" if hint else ""
            yield (
                f"{record.place(field)}: nothing is written to it{meant}; take it out, or give it a value with "
                "outputs.fields"
            )


def _add(role: Role, field: str, engine_name: str, fields: Mapping[str, Any]) -> str:
    hint = closest(field, fields, _ALIKE)
    if hint and hint not in role.fields:
        return f"did you mean {hint!r}? Then map it: outputs.fields: {{{engine_name}: {hint}}}"
    return f"add it as {json.dumps(role.fields[engine_name].type)}, or name the field that carries it in outputs.fields"


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
    return np.array([value])


def _logical_types(avro_type: Any) -> set[str]:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    return {str(b["logicalType"]) for b in branches if isinstance(b, dict) and "logicalType" in b}
