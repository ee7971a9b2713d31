"""The schemas of outputs that the pipeline file gives none: they follow from the input, the role and the task."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from schemas.avro_record import AvroRecord
from worker.config.inputs_outputs import Input
from worker.config.output_fields import IDENTITY
from worker.config.outputs import Outputs
from worker.config.roles import ROLES, Role
from worker.config.task import Task

_NOT_DERIVED = {"readings_in_window"}
# Of the input's field, what is said of its values.
_KEPT = {"name", "type", "doc", "unit"}
_CASES = re.compile(r"[A-Za-z0-9]+")


def derived_record(
    pipeline: str, file: Path, source: Input, outputs: Outputs, name: str, task: Task | None
) -> AvroRecord:
    """The declaration of an output's records.

    Args:
        pipeline: its name, from which the record's name follows.
        file: the pipeline file, for messages.
        source: the input, whose fields identify the reading.
        outputs: say which fields of the input are copied to predictions, and how fields are named.
        name: of the role.
        task: what the model predicts.
    """
    record, role = _camel(name.removesuffix("s")), ROLES[name]
    fields = [*_identity(source, role), *_written(role, task)]
    if role.mapped:
        fields = [field | {"name": outputs.schema_name(field["name"])} for field in fields]
    if role.echoes:
        at = len(source.identity_fields)
        fields[at:at] = _echoed(source, outputs.echo)
    full_name = f"{_camel(pipeline)}{record}"
    schema = {"type": "record", "name": full_name, "namespace": "hazardstream.derived", "fields": fields}
    return AvroRecord(full_name, file, schema)


def _camel(name: str) -> str:
    words = "".join(part[0].upper() + part[1:] for part in _CASES.findall(name))
    return f"P{words}" if words[:1].isdigit() else words


def _identity(source: Input, role: Role) -> Iterator[dict[str, Any]]:
    for part, field in source.identity_fields.items():
        if part in role.fields:
            yield {"name": field, "type": role.fields[part].type, "doc": role.fields[part].doc}


def _echoed(source: Input, echo: Iterable[str]) -> Iterator[dict[str, Any]]:
    declared = {field["name"]: field for field in source.avro_schema["fields"]}
    for name in echo:
        if name in declared:
            copied = {key: part for key, part in declared[name].items() if key in _KEPT}
            yield copied | ({"default": None} if source.rules(name).nullable else {})


def _written(role: Role, task: Task | None) -> Iterator[dict[str, Any]]:
    for name, field in role.fields.items():
        if name in IDENTITY or name in _NOT_DERIVED or (field.tasks and task not in field.tasks):
            continue
        default = {"default": None} if isinstance(field.type, list) else {}
        yield {"name": name, "type": field.type, "doc": field.doc, **default}
