"""What a pipeline file says of its input and of an output."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from common.errors import UserError
from schemas.avro_record import AvroRecord
from schemas.field_rules import FieldRules
from schemas.folder import SchemaFolder
from schemas.load import Schema
from worker.windows.keyed_state import MOST_FUTURE_MS

# Not `true`, and not a number in quotes: YAML turns a typing error into either. Sums of such numbers fit 64 bits.
Number = Annotated[int, Field(strict=True, le=2**42)]
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_UTC_OFFSET = re.compile(r"Z|[+-]([01]\d|2[0-3]):[0-5]\d")


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name):
        raise ValueError("a topic has 1 to 249 letters, digits, dots, _ and -")
    return name


def _utc_offset(text: str) -> str:
    if not _UTC_OFFSET.fullmatch(text):
        raise ValueError('it must be an offset such as "+02:00", or Z')
    return text


Topic = Annotated[str, AfterValidator(_topic), WithJsonSchema({"type": "string", "pattern": f"^{_TOPIC.pattern}$"})]


_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def _legal_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name has 1 to 100 letters, digits, dots, _ and -, and no dot first")
    return name


Name = Annotated[str, AfterValidator(_legal_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]


def _find_record(name: object, info: ValidationInfo) -> AvroRecord:
    """The record of a name, from the folder that the validation's context gives."""
    if isinstance(name, AvroRecord):
        return name
    if not isinstance(name, str):
        raise PydanticCustomError("string_type", "it must be text")
    folder = info.context
    if not isinstance(folder, SchemaFolder):
        raise TypeError("give the pipeline's SchemaFolder as the validation's context")
    try:
        return folder.record(name)
    except UserError as error:
        raise PydanticCustomError("avro_schema", "{text}", {"text": str(error)}) from error


# In JSON the whole schema: what is remembered of a pipeline must not outlive a change of its schemas.
_Record = Annotated[
    AvroRecord,
    PlainValidator(_find_record, json_schema_input_type=str),
    PlainSerializer(lambda record: record.schema, return_type=dict, when_used="json"),
]
"""Given by name in the file."""


class Strict(BaseModel):
    """A part of a pipeline file: names that are not declared are faults, and nothing is changed after it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Strict):
    """The input topic and the record on it.

    Attributes:
        topic: the readings.
        record: name of the .avsc file beside this file that declares the fields, without `.avsc`.
        key_field: field that says what a reading is about, as the message key does; without it, the message key alone.
        group_field: field that says what the key belongs to; without it, there are no groups.
        time_field: field of the event time; without it, the message's Kafka timestamp.
        max_future_ms: a reading further ahead of its Kafka timestamp is a dead letter.
        on_invalid_sensor: what becomes of a reading with a value out of its range: the value counts as missing, or the
            reading is a dead letter.
        utc_offset: of local times and of texts that do not say it, such as "+02:00".
    """

    topic: Topic
    record: _Record = Field(alias="schema")
    key_field: str | None = Field(None, alias="key")
    group_field: str | None = Field(None, alias="group")
    time_field: str | None = Field(None, alias="time")
    max_future_ms: Annotated[Number, Field(ge=0, le=MOST_FUTURE_MS)] = 300_000
    on_invalid_sensor: Literal["mask", "dead_letter"] = "mask"
    # Zones with daylight saving are not fixed, so they are not allowed.
    utc_offset: (
        Annotated[
            str,
            AfterValidator(_utc_offset),
            WithJsonSchema({"type": "string", "pattern": f"^({_UTC_OFFSET.pattern})$"}),
        ]
        | None
    ) = None

    @property
    def key(self) -> str:
        """Name of the key in outputs: the record's own, if it has a field of it, else the engine's."""
        return self.key_field or "key"

    @property
    def group(self) -> str:
        """Name of the group in outputs, as for `key`."""
        return self.group_field or "group"

    @property
    def time(self) -> str:
        """Name of the event time in outputs, as for `key`."""
        return self.time_field or "time"

    @property
    def identity(self) -> dict[str, str]:
        """Names of key, group and time in outputs, whether the record has fields of them or not."""
        return {"key": self.key, "group": self.group, "time": self.time}

    @property
    def identity_fields(self) -> dict[str, str]:
        """The fields of the record that are its key, group and time."""
        named = {"key": self.key_field, "group": self.group_field, "time": self.time_field}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def utc_offset_ms(self) -> int | None:
        """`utc_offset` in ms, positive in the east; None: times that do not say it are not read."""
        if self.utc_offset in (None, "Z"):
            return None if self.utc_offset is None else 0
        hours, minutes = int(self.utc_offset[1:3]), int(self.utc_offset[4:])
        return (-1 if self.utc_offset[0] == "-" else 1) * (60 * hours + minutes) * 60_000

    @property
    def avro_schema(self) -> Schema:
        """The schema of the input's values."""
        return self.record.schema

    @property
    def reader_schema(self) -> Schema:
        """The schema that values are decoded to: without fields of types that the engine does not read."""
        return self.record.reader_schema

    @property
    def record_model(self) -> type[BaseModel]:
        """The Pydantic model of a reading, which says in text what is wrong with one."""
        return self.record.model

    def rules(self, field: str) -> FieldRules:
        """What a field of the record may hold."""
        return self.record.rules[field]

    def sensors(self) -> tuple[str, ...]:
        """Names of the record's numeric columns: every field that is a number or a boolean, but for key and time."""
        identity = set(self.identity_fields.values())
        return tuple(name for name, rules in self.record.rules.items() if rules.numeric and name not in identity)

    def categories(self) -> tuple[str, ...]:
        """Names of the record's columns of texts: every string and enum, but for key and group."""
        identity = set(self.identity_fields.values())
        return tuple(n for n, rules in self.record.rules.items() if rules.kind == "text" and n not in identity)


class Output(Strict):
    """An output topic and the schema of its records.

    Attributes:
        topic: its name.
        given: name of the .avsc file beside this file that declares the fields, without `.avsc`; without it, the schema
            follows from the role and the task.
    """

    topic: Topic
    given: _Record | None = Field(None, alias="schema")
    _derived: AvroRecord | None = PrivateAttr(None)

    @property
    def record(self) -> AvroRecord:
        """Declaration of the records."""
        record = self.given or self._derived
        if record is None:
            raise TypeError("the pipeline of this output was not checked")
        return record

    def derive(self, record: AvroRecord) -> None:
        """Take this declaration where the file gives none."""
        self._derived = record

    @property
    def avro_schema(self) -> Schema:
        """The schema of the records."""
        return self.record.schema


class DeadLetters(Strict):
    """The dead-letter topic: records go there byte for byte, so it has no schema.

    Attributes:
        topic: its name.
    """

    topic: Topic
