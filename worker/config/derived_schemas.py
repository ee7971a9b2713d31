"""The schemas of outputs that the pipeline file gives none: they follow from the input, the role and the task."""

import re
from collections.abc import Mapping
from typing import Any

from schemas.avro_record import AvroRecord
from schemas.folder import SchemaFolder
from schemas.resolution import self_contained
from worker.config.pipeline_file import FILE_NAME
from worker.config.written_fields import WrittenField

_PARTS = re.compile(r"[A-Za-z0-9]+")


def derived_record(
    pipeline: str, role: str, written: Mapping[str, WrittenField], named: Mapping[str, Any], folder: SchemaFolder
) -> AvroRecord:
    """The declaration of an output's records, named after pipeline and role.

    Args:
        pipeline: its name.
        role: of the output.
        written: see `written_fields`.
        named: the named types of the input, which copied fields may have.
        folder: of the pipeline. It may hold earlier versions of the record.

    Raises:
        UserError: a file with an earlier version does not declare a record.
    """
    name = f"{_camel(pipeline)}{_camel(role.removesuffix('s'))}"
    fields = self_contained((_declared(field, each) for field, each in written.items() if each.derived), named)
    schema = {"type": "record", "name": name, "namespace": "hazardstream.derived", "fields": fields}
    return AvroRecord(name, folder.path / FILE_NAME, schema, folder.superseded(name))


def _declared(name: str, written: WrittenField) -> dict[str, Any]:
    field = written.field
    default = {"default": None} if isinstance(field.type, list) else {}
    doc = {"doc": field.doc} if field.doc else {}
    return {"name": name, "type": field.type, **default, **doc, **written.properties}


def _camel(name: str) -> str:
    """An Avro name."""
    words = "".join(part[0].upper() + part[1:] for part in _PARTS.findall(name))
    return f"P{words}" if words[:1].isdigit() or not words else words
