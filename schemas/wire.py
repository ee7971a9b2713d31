"""The byte formats in which a message names its writer's schema. All of them are supported, and none is guessed.

In front of the Avro binary:
- Confluent: a zero byte, the schema's registry id in 4 bytes big-endian.
  https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
- Apicurio's 8-byte ids: a zero byte, the id in 8 bytes. Registries count from 1, and no id needs more than 4 bytes, so
  four zero bytes after the first one mean this.
- Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint of the schema's Parsing Canonical Form in
  8 bytes little-endian. https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding

In headers, with nothing in front of the Avro binary:
- Confluent: `__value_schema_id`, a byte 0 and an id of 4 bytes, or a byte 1 and a GUID of 16.
- Apicurio: `apicurio.value.globalId` or `apicurio.value.contentId`, 8 bytes.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from uuid import UUID

from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from schemas.errors import MalformedError, UnknownSchemaError

CONFLUENT_MAGIC = b"\x00"
CONFLUENT_PREFIX_LENGTH = 5
SINGLE_OBJECT_MARKER = b"\xc3\x01"
SINGLE_OBJECT_PREFIX_LENGTH = 10
LONG_ID_PREFIX_LENGTH = 9
_CONFLUENT_HEADER = "__value_schema_id"
_APICURIO_HEADERS = "apicurio.value."
_GUID_MAGIC = b"\x01"

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class ConfluentId:
    """A schema's id in the registry, 0 to 2**32 - 1 as in the value."""

    value: int

    def __str__(self) -> str:
        return f"registry id {self.value}"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A schema's CRC-64-AVRO fingerprint, as its 8 bytes on the wire (little-endian)."""

    value: bytes

    def __str__(self) -> str:
        return f"CRC-64-AVRO fingerprint {self.value.hex()} (bytes as on the wire)"


@dataclass(frozen=True, slots=True)
class Guid:
    """A schema's GUID in a Confluent registry, 16 bytes."""

    value: bytes

    @property
    def uuid(self) -> UUID:
        """The GUID in its text form."""
        return UUID(bytes=self.value)

    def __str__(self) -> str:
        return f"registry GUID {self.uuid}"


@dataclass(frozen=True, slots=True)
class ApicurioId:
    """A schema's id in an Apicurio Registry.

    Attributes:
        kind: kind of the id; None if the value does not say.
    """

    kind: Literal["globalId", "contentId"] | None
    value: int

    def __str__(self) -> str:
        return f"Apicurio {self.kind or '8-byte id'} {self.value}"


RegistryKey: TypeAlias = ConfluentId | Guid | ApicurioId
SchemaKey: TypeAlias = RegistryKey | Fingerprint


def fingerprint(schema: Any) -> Fingerprint:
    """CRC-64-AVRO fingerprint of a schema's Parsing Canonical Form. The schema may be parsed or not.

    Docs, defaults, aliases, logical types and other properties (`minimum`, `unit`) do not change it.
    """
    # fastavro returns the digest in the byte order of the wire, not as a number.
    return Fingerprint(bytes.fromhex(fastavro_fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")))


def confluent_prefix(schema_id: int) -> bytes:
    """The 5 bytes before a body in Confluent's format.

    Args:
        schema_id: id of the writer's schema in the registry.

    Raises:
        struct.error: the id does not fit in 4 bytes.
    """
    return struct.pack(">cI", CONFLUENT_MAGIC, schema_id)


def single_object_prefix(schema: Any) -> bytes:
    """The 10 bytes before a body in the single-object encoding of this schema."""
    return SINGLE_OBJECT_MARKER + fingerprint(schema).value


def parse_prefix(value: bytes) -> tuple[SchemaKey, int]:
    """Parse the prefix of a value.

    Args:
        value: a whole message value, or at least its first 10 bytes.

    Returns:
        Key of the writer's schema, and the start of the body (5, 9 or 10).

    Raises:
        MalformedError: the value has none of the prefixes.
    """
    if value[:1] == CONFLUENT_MAGIC:
        if len(value) < CONFLUENT_PREFIX_LENGTH:
            raise MalformedError(
                f"the value ends after {len(value)} bytes, inside the 5-byte prefix of Confluent's wire format"
            )
        (schema_id,) = struct.unpack_from(">I", value, 1)
        if schema_id:
            return ConfluentId(schema_id), CONFLUENT_PREFIX_LENGTH
        if len(value) < LONG_ID_PREFIX_LENGTH:
            raise MalformedError(f"the value ends after {len(value)} bytes, inside the 9-byte prefix of an 8-byte id")
        (long_id,) = struct.unpack_from(">Q", value, 1)
        return ApicurioId(None, long_id), LONG_ID_PREFIX_LENGTH
    if value[:2] == SINGLE_OBJECT_MARKER:
        if len(value) < SINGLE_OBJECT_PREFIX_LENGTH:
            raise MalformedError(
                f"the value ends after {len(value)} bytes, inside the 10-byte prefix of Avro's single-object encoding"
            )
        return Fingerprint(bytes(value[2:SINGLE_OBJECT_PREFIX_LENGTH])), SINGLE_OBJECT_PREFIX_LENGTH
    if not value:
        raise MalformedError("the value is empty")
    raise MalformedError(
        f"the value starts with {bytes(value[:2]).hex(' ')}: neither 00 (Confluent's wire format) "
        "nor c3 01 (Avro single-object encoding)"
    )


def prefix_of(value: bytes) -> bytes:
    """The prefix of a value that has one of the formats: the bytes that `parse_prefix` reads."""
    if value[:1] != CONFLUENT_MAGIC:
        return value[:SINGLE_OBJECT_PREFIX_LENGTH]
    return value[: CONFLUENT_PREFIX_LENGTH if any(value[1:5]) else LONG_ID_PREFIX_LENGTH]


def schema_in_headers(headers: Headers) -> SchemaKey | None:
    """Find the key of the value's schema in a message's headers; None if no header has one.

    Raises:
        MalformedError: a header has an invalid form, or headers name different schemas.
        UnknownSchemaError: a header names the schema in a form that is not supported.
    """
    found = set[SchemaKey]()
    artifact = None
    for name, value in headers:
        if name == _CONFLUENT_HEADER:
            found.add(_confluent_header(value or b""))
        elif name.startswith(_APICURIO_HEADERS):
            what = name.removeprefix(_APICURIO_HEADERS)
            if what in ("globalId", "contentId"):
                found.add(_apicurio_header(what, value or b""))
            elif what == "encoding" and value not in (b"BINARY", None):
                raise MalformedError(f"the header {name} says {value[:40]!r}, but only BINARY is supported")
            elif what in ("artifactId", "contentHash"):
                artifact = name
    if len(found) > 1:
        raise MalformedError(f"headers name different schemas: {', '.join(sorted(map(str, found)))}")
    if not found and artifact is not None:
        raise UnknownSchemaError(
            f"the header {artifact} names the schema by its artifact, which is not supported; "
            "set the producer's apicurio.registry.use-id to globalId or contentId"
        )
    return next(iter(found), None)


def schema_of_message(value: bytes, headers: Headers) -> tuple[SchemaKey, int]:
    """Find the key of a value's schema in its headers or its prefix, and the start of the body.

    Raises:
        MalformedError, UnknownSchemaError: see `schema_in_headers` and `parse_prefix`.
    """
    key = schema_in_headers(headers)
    return parse_prefix(value) if key is None else (key, 0)


def _confluent_header(value: bytes) -> ConfluentId | Guid:
    if value[:1] == CONFLUENT_MAGIC and len(value) == CONFLUENT_PREFIX_LENGTH:
        return ConfluentId(int.from_bytes(value[1:]))
    if value[:1] == _GUID_MAGIC and len(value) == 17:
        return Guid(value[1:])
    raise MalformedError(
        f"the header {_CONFLUENT_HEADER} is neither 00 and an id of 4 bytes nor 01 and a GUID of 16: "
        f"{value[:20].hex(' ')}"
    )


def _apicurio_header(what: str, value: bytes) -> ApicurioId:
    if len(value) != 8:
        raise MalformedError(f"the header {_APICURIO_HEADERS}{what} has {len(value)} bytes, not 8")
    return ApicurioId("globalId" if what == "globalId" else "contentId", int.from_bytes(value))
