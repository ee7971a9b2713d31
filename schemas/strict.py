"""Checks strictly that bytes are exactly one value of a schema in Avro's binary encoding.

fastavro is lenient: it accepts negative lengths, union branches that do not exist and any byte for a boolean, and a
corrupt array count can make it allocate without limit. So bodies are checked here before fastavro decodes them.
https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from schemas.errors import IncompatibleSchemaError, MalformedError

_LONGEST = 2**31 - 1  # bytes of a value, as in Avro's own libraries
MAX_STEPS = 2000  # far more than a sensor's record needs, and few enough for a whole batch
Check: TypeAlias = Callable[[bytes, int], int]
"""A function of (body, position) that checks one value and returns the position after it."""


def compile_check(schema: Any) -> Callable[[bytes, int], None]:
    """Compile a check of whole bodies written with a schema.

    Args:
        schema: the writer's schema as `schemas.load.parsed` gives it.

    Returns:
        A function of (value, start of the body) that returns if the body is exactly one value, and raises
        `MalformedError` otherwise. The value's length limits the memory that it needs.

    Raises:
        IncompatibleSchemaError: the schema is recursive or has arrays of values without bytes (in both cases a few
            bytes can cause unlimited work), is too large, or has a fixed type with an invalid size.
    """
    _require_bounded(schema)
    check = _compile(schema, {})

    def check_body(value: bytes, start: int) -> None:
        end = check(value, start)
        if end != len(value):
            raise MalformedError(f"{len(value) - end} bytes follow the record, which ends at byte {end}")

    return check_body


def compile_fields(schema: Any) -> list[tuple[str, Check]]:
    """Compile one check per field of a record, to find how far a malformed body can be decoded.

    Args:
        schema: a record schema as `schemas.load.parsed` gives it.

    Returns:
        Name and check of each field, in the writer's order.

    Raises:
        IncompatibleSchemaError: see `compile_check`.
    """
    _require_bounded(schema)
    return _fields(schema, {schema["name"]: None})


def _require_bounded(schema: Any) -> None:
    steps = _steps(schema, {})
    if steps > MAX_STEPS:
        raise IncompatibleSchemaError(
            f"the writer's schema is too large: one value of it takes {min(steps, 10**9)} steps to read, "
            f"but only {MAX_STEPS} are allowed"
        )


def _steps(schema: Any, named: dict[str, int]) -> int:
    """The largest number of nested values in one value of the schema. Items of arrays and maps count once.

    The number can be huge: each of a few nested records may contain the next one twice, in a value without bytes.
    """
    if isinstance(schema, list):
        return 1 + max((_steps(branch, named) for branch in schema), default=0)
    if isinstance(schema, str):
        return named.get(schema, 1)
    kind = schema["type"]
    if kind in ("array", "map"):
        return 1 + _steps(schema["items" if kind == "array" else "values"], named)
    if kind in ("enum", "fixed"):
        return 1
    if kind == "record":
        named[schema["name"]] = 1
        named[schema["name"]] = steps = 1 + sum(_steps(field["type"], named) for field in schema["fields"])
        return steps
    return _steps(kind, named)


def _compile(schema: Any, named: dict[str, Check | None]) -> Check:
    if isinstance(schema, list):
        return _union([_compile(branch, named) for branch in schema])
    if isinstance(schema, str):
        return _PRIMITIVES.get(schema) or _already_named(schema, named)
    kind = schema["type"]
    if kind == "array":
        return _blocks(_compile(schema["items"], named))
    if kind == "map":
        return _blocks(_sequence([_check_string, _compile(schema["values"], named)]))
    if kind in ("record", "enum", "fixed"):
        named[schema["name"]] = None
        check = _compile_named(schema, named)
        named[schema["name"]] = check
        return check
    return _compile(kind, named)


def _compile_named(schema: Any, named: dict[str, Check | None]) -> Check:
    if schema["type"] == "enum":
        return _enum(len(schema["symbols"]))
    if schema["type"] == "fixed":
        size = schema["size"]
        if not isinstance(size, int) or not 0 <= size <= _LONGEST:
            raise IncompatibleSchemaError(f"the writer's fixed type {schema['name']} has a size of {size!r}")
        return _fixed(size, schema["name"])
    return _sequence([check for _, check in _fields(schema, named)])


def _fields(schema: Any, named: dict[str, Check | None]) -> list[tuple[str, Check]]:
    return [(f["name"], _in_field(f["name"], _compile(f["type"], named))) for f in schema["fields"]]


def _already_named(name: str, named: dict[str, Check | None]) -> Check:
    check = named[name]
    if check is None:
        raise IncompatibleSchemaError(f"the writer's schema is recursive: {name} contains itself")
    return check


def _read_varint(value: bytes, at: int, max_bytes: int, bits: int) -> tuple[int, int]:
    encoded = shift = 0
    for position in range(at, min(at + max_bytes, len(value))):
        byte = value[position]
        encoded |= (byte & 0x7F) << shift
        if byte < 0x80:
            if encoded >> bits:
                raise MalformedError(f"the number at byte {at} does not fit in {bits} bits")
            return (encoded >> 1) ^ -(encoded & 1), position + 1
        shift += 7
    if at + max_bytes > len(value):
        raise MalformedError(f"the value ends inside the number at byte {at}")
    raise MalformedError(f"the number at byte {at} is longer than {max_bytes} bytes")


def read_long(value: bytes, at: int) -> tuple[int, int]:
    """Decode a long, or the index of a union's branch: its value, and the position after it.

    Raises:
        MalformedError: there is no long at this position.
    """
    return _read_varint(value, at, 10, 64)


def _check_null(_value: bytes, at: int) -> int:
    return at


def _check_boolean(value: bytes, at: int) -> int:
    if at >= len(value):
        raise MalformedError(f"the value ends at byte {at}, where a boolean should be")
    if value[at] > 1:
        raise MalformedError(f"byte {at} should be a boolean (0 or 1) and is {value[at]}")
    return at + 1


def _check_int(value: bytes, at: int) -> int:
    return _read_varint(value, at, 5, 32)[1]


def _check_long(value: bytes, at: int) -> int:
    return read_long(value, at)[1]


def _fixed(size: int, kind: str) -> Check:
    def check(value: bytes, at: int) -> int:
        if at + size > len(value):
            raise MalformedError(f"the value ends inside the {kind} at byte {at}")
        return at + size

    return check


def _read_span(value: bytes, at: int) -> tuple[int, int]:
    length, start = read_long(value, at)
    if not 0 <= length <= len(value) - start:
        raise MalformedError(f"byte {at} announces {length} bytes, where {len(value) - start} are left")
    return start, start + length


def _check_bytes(value: bytes, at: int) -> int:
    return _read_span(value, at)[1]


def _check_string(value: bytes, at: int) -> int:
    start, end = _read_span(value, at)
    try:
        value[start:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"the string at byte {at} is not UTF-8: {error.reason}") from error
    return end


def _enum(symbols: int) -> Check:
    def check(value: bytes, at: int) -> int:
        index, end = _read_varint(value, at, 5, 32)
        if not 0 <= index < symbols:
            raise MalformedError(f"byte {at} picks symbol {index} of an enum of {symbols}")
        return end

    return check


def _union(branches: list[Check]) -> Check:
    def check(value: bytes, at: int) -> int:
        index, start = read_long(value, at)
        if not 0 <= index < len(branches):
            raise MalformedError(f"byte {at} picks branch {index} of a union of {len(branches)}")
        return branches[index](value, start)

    return check


def _sequence(parts: list[Check]) -> Check:
    def check(value: bytes, at: int) -> int:
        for part in parts:
            at = part(value, at)
        return at

    return check


def _in_field(name: str, part: Check) -> Check:
    def check(value: bytes, at: int) -> int:
        try:
            return part(value, at)
        except MalformedError as error:
            raise MalformedError(f"{name}: {error}") from error

    return check


def _takes_no_bytes(item: Check) -> bool:
    try:
        return item(b"", 0) == 0
    except MalformedError:
        return False


def _blocks(item: Check) -> Check:
    """Check arrays and maps: blocks of a count and that many items, up to an empty block."""
    if _takes_no_bytes(item):
        raise IncompatibleSchemaError("the writer's schema has an array of values that take no bytes")

    def check(value: bytes, at: int) -> int:
        while True:
            count, start = read_long(value, at)
            if count == 0:
                return start
            block_end = None
            if count < 0:
                count = -count
                size, start = read_long(value, start)
                block_end = start + size
            if count > len(value) - start:
                raise MalformedError(f"byte {at} announces {count} items, where {len(value) - start} bytes are left")
            block_at, at = at, start
            for _ in range(count):
                at = item(value, at)
            if block_end not in (None, at):
                raise MalformedError(f"the block at byte {block_at} does not have the size it announces")

    return check


_PRIMITIVES: dict[str, Check] = {
    "null": _check_null,
    "boolean": _check_boolean,
    "int": _check_int,
    "long": _check_long,
    "float": _fixed(4, "float"),
    "double": _fixed(8, "double"),
    "bytes": _check_bytes,
    "string": _check_string,
}
