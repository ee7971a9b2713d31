"""A record as its .avsc file declares it: its schema, the rules of its fields, and a Pydantic model of them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from common.text import shown
from schemas.field_rules import FieldRules, Kind, field_rules
from schemas.load import Schema, line_of
from schemas.resolution import named_types, self_contained
from schemas.wire import Fingerprint, fingerprint

_PYTHON: dict[Kind, type] = {"text": str, "whole": int, "number": float, "flag": bool}


class AvroRecord:
    """One declared record.

    Attributes:
        name: name of the file without `.avsc`.
        file: the file.
        schema: its content.
        superseded: earlier versions, with which older values may have been written.
        rules: rules of the fields, by name, in the order of the schema.
    """

    def __init__(self, name: str, file: Path, schema: Schema, superseded: Sequence[Schema] = ()) -> None:
        """Read the rules.

        Raises:
            UserError: a rule is invalid; the text names file and line.
        """
        self.name, self.file, self.schema, self.superseded = name, file, schema, tuple(superseded)
        self.rules: dict[str, FieldRules] = field_rules(schema, file)

    def __repr__(self) -> str:
        return f"AvroRecord({self.name!r}, {str(self.file)!r})"

    def __reduce__(self) -> tuple[type["AvroRecord"], tuple[Any, ...]]:
        """Pickle the arguments only, because a model that is created at run time cannot be pickled."""
        return AvroRecord, (self.name, self.file, self.schema, self.superseded)

    def place(self, field: str) -> str:
        """A field with the file and line of its declaration, for messages."""
        at = [*self.rules].index(field)
        return f"{shown(self.file)}:{line_of(self.file, 'fields', at)}: field {shown(field)!r}"

    @cached_property
    def reader_schema(self) -> Schema:
        """The schema without the fields of types that the engine does not read, such as arrays and nested records."""
        read = [field for field in self.schema["fields"] if self.rules[field["name"]].kind != "other"]
        if len(read) == len(self.schema["fields"]):
            return self.schema
        return {**self.schema, "fields": self_contained(read, named_types(self.schema))}

    @cached_property
    def versions(self) -> dict[Fingerprint, Schema]:
        """The schema and its superseded versions, by their fingerprint."""
        return {fingerprint(schema): schema for schema in (*self.superseded, self.schema)}

    @cached_property
    def model(self) -> type[BaseModel]:
        """A Pydantic model with the same rules, for texts that say which rule a value breaks.

        Nullable fields are optional. A nullable integer is a float, as in columns, where NaN is a missing value.
        Unknown fields and values that are not finite are errors.
        """
        # The Avro names are aliases, because Pydantic does not allow every name for an attribute.
        fields: dict[str, Any] = {
            f"f{at}": _declared(name, rules) for at, (name, rules) in enumerate(self.rules.items())
        }
        return create_model(self.schema["name"], __config__=ConfigDict(extra="forbid"), **fields)


def _declared(name: str, rules: FieldRules) -> tuple[Any, Any]:
    limits: dict[str, Any] = {
        "ge": None if rules.low == -float("inf") else rules.low,
        "le": None if rules.high == float("inf") else rules.high,
        "min_length": rules.shortest or None,
        "max_length": rules.longest,
    }
    declared: Any = _PYTHON.get(rules.kind, Any)
    if rules.nullable and rules.kind == "whole":
        declared = float
    if declared is float:
        limits["allow_inf_nan"] = False
    if rules.nullable:
        return declared | None if declared is not Any else Any, Field(None, alias=name, **limits)
    return declared, Field(alias=name, **limits)
