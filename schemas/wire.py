"""The two wire formats a value may come in, on the level of bytes.

Confluent: a zero byte, the schema's registry id in 4 bytes big-endian, Avro binary.
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format

Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint of the schema's Parsing Canonical Form in
8 bytes little-endian, Avro binary.
https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding
"""

import functools
import struct
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from uuid import UUID

from fastavro.schema import fingerprint as fastavro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from schemas.errors import MalformedError
from schemas.load import shipped_schemas

CONFLUENT_MAGIC = b"\x00"
CONFLUENT_PREFIX_LENGTH = 5
SINGLE_OBJECT_MARKER = b"\xc3\x01"
SINGLE_OBJECT_PREFIX_LENGTH = 10


@dataclass(frozen=True, slots=True)
class ConfluentId:
    """A schema's id in the registry, 0 to 2**32 - 1 as it stands in the value."""

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
    """A schema's GUID in a Confluent registry, as its 16 bytes."""

    value: bytes

    @property
    def uuid(self) -> UUID:
        """As it is written in text."""
        return UUID(bytes=self.value)

    def __str__(self) -> str:
        return f"registry GUID {self.uuid}"


@dataclass(frozen=True, slots=True)
class ApicurioId:
    """A schema's id in an Apicurio Registry.

    Attributes:
        kind: which of its two numberings; None where the value does not say.
    """

    kind: Literal["globalId", "contentId"] | None
    value: int

    def __str__(self) -> str:
        return f"Apicurio {self.kind or '8-byte id'} {self.value}"


RegistryKey: TypeAlias = ConfluentId | Guid | ApicurioId
SchemaKey: TypeAlias = RegistryKey | Fingerprint


def fingerprint(schema: Any) -> Fingerprint:
    """Fingerprint a schema (parsed or not) by CRC-64-AVRO of its Parsing Canonical Form.

    Docs, defaults, aliases and logical types do not enter it.
    """
    # fastavro prints the digest in the byte order of the wire, not as the number it stands for.
    return Fingerprint(bytes.fromhex(fastavro_fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")))


@functools.cache
def shipped_fingerprints() -> dict[Fingerprint, dict[str, Any]]:
    """Give the schemas of this package, superseded versions included, by their fingerprint."""
    return {fingerprint(schema): schema for schema in shipped_schemas().values()}


def confluent_prefix(schema_id: int) -> bytes:
    """Build the 5 bytes before a body in Confluent's format.

    Args:
        schema_id: the writer schema's id in the registry.

    Raises:
        struct.error: the id does not fit in 4 bytes.
    """
    return struct.pack(">cI", CONFLUENT_MAGIC, schema_id)


def single_object_prefix(schema: Any) -> bytes:
    """Build the 10 bytes before a body in the single-object encoding of this writer schema."""
    return SINGLE_OBJECT_MARKER + fingerprint(schema).value


def parse_prefix(value: bytes) -> tuple[SchemaKey, int]:
    """Take the schema's key off the front of a value.

    Args:
        value: a whole message value, or at least its first 10 bytes.

    Returns:
        What names the writer's schema, and where the body starts (5 or 10).

    Raises:
        MalformedError: neither format begins like this.
    """
    if value[:1] == CONFLUENT_MAGIC:
        if len(value) < CONFLUENT_PREFIX_LENGTH:
            raise MalformedError(
                f"the value ends after {len(value)} bytes, inside the 5-byte prefix of Confluent's wire format"
            )
        (schema_id,) = struct.unpack_from(">I", value, 1)
        return ConfluentId(schema_id), CONFLUENT_PREFIX_LENGTH
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
