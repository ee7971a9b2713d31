"""Writers' schemas as devices of any age may have them, and values of any schema. Randomness is given from outside."""

import math
import struct
from random import Random
from typing import Any

from schemas.errors import UnknownSchemaError
from schemas.load import Schema
from schemas.wire import ConfluentId, SchemaKey, confluent_prefix, fingerprint
from tests.flagship import KNOWN_SCHEMAS, flagship_schema

READER = flagship_schema("SensorReading")
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "int", "logicalType": "date"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
)
TIMES = (
    *("long", "int", LOGICAL[0], {"type": "long", "logicalType": "timestamp-millis"}, "double", ["null", "long"]),
    *({"type": "long", "logicalType": name} for name in ("timestamp-nanos", "local-timestamp-micros")),
    *("string", [LOGICAL[0], "null"], ["string", LOGICAL[0]]),
)
FIXED = {"type": "fixed", "name": "D", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 4}
DECIMALS = (
    *(LOGICAL[3], ["null", LOGICAL[3]], [LOGICAL[3], "double"]),
    {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 25},
    *(FIXED | {"name": "D1"}, ["null", FIXED | {"name": "D2", "size": 5, "precision": 10}]),
)
ISO = ("2026-05-28T20:26:40Z", "2026-05-28 22:26:40.1234567+02:00", "2026-05-28T20:26:40", "2026-02-30T00:00:00Z", "5")
SENSORS = (
    *("double", "float", "int", "long", ["float", "null"], ["null", "long"], ["null", "int", "double"]) * 3,
    *("boolean", "null", "string", ["string", "null"]),
    *DECIMALS,
)
WHOLE = (*("int", "long", ["int", "null"], ["null", "long"], "null") * 3, "double", "string")
FLOATS = (0.0, -0.0, 1.0, 51.5, 1e9, -1e300, 5e-324, math.inf, -math.inf, math.nan)
TEXTS = ("", "m1", "m2", "modül", "\0", "\U0001d510" * 60, "ü" * 150, "x" * 200, "y" * 201, "z" * 3000)
START_MS = 1_780_000_000_000

# What a registry may hold although no producer could write with it, or only at our cost.
BROKEN: tuple[Any, ...] = (
    {"type": "record", "fields": READER["fields"]},
    {"type": "record", "name": "SensorReading"},
    {"type": "record", "name": "SensorReading", "fields": 7},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], {"name": "x"}]},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], {"type": "int"}]},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], {"name": "x", "type": "Unknown"}]},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], {"name": "x", "type": {"type": 3}}]},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], READER["fields"][0]]},
    {"type": "record", "name": 5, "fields": READER["fields"]},
    {"type": "record", "name": "Sensor Reading", "fields": READER["fields"]},
    {"type": "record", "name": "Other", "fields": READER["fields"]},
    {"type": "enum", "name": "SensorReading", "symbols": ["A"]},
    {"type": "record", "name": "SensorReading", "fields": [*READER["fields"], {"name": "l", "type": "SensorReading"}]},
    {
        "type": "record",
        "name": "SensorReading",
        "fields": [*READER["fields"], {"name": "n", "type": {"type": "array", "items": "null"}}],
    },
    {
        "type": "record",
        "name": "SensorReading",
        "fields": [*READER["fields"], {"name": "f", "type": {"type": "fixed", "name": "F", "size": -1}}],
    },
    ["null", READER],
)


class Writers:
    """Schemas behind registry ids and fingerprints, as `schemas.registry.writer_schema_lookup` would find them."""

    def __init__(self, rng: Random, count: int) -> None:
        evolved = [evolve(rng) for _ in range(count)]
        self.good: list[tuple[bytes, Schema]] = []
        self.broken: list[bytes] = []
        self._schemas: dict[SchemaKey, Schema] = {}
        self._schemas.update(KNOWN_SCHEMAS.items())
        for schema_id, schema in enumerate([READER, *KNOWN_SCHEMAS.values(), *evolved, *BROKEN], start=1):
            self._schemas[ConfluentId(schema_id)] = schema
            prefix = confluent_prefix(schema_id)
            if any(schema is b for b in BROKEN):
                self.broken.append(prefix)
                continue
            self._schemas[fingerprint(schema)] = schema
            if schema_id % 5 == 0 and schema["name"] == READER["name"]:
                union = rng.choice([["null", schema], [schema, "null"]])
                self._schemas[ConfluentId(schema_id)] = {"type": union}  # as a registry's union is given to readers
                self.good.append((prefix, union))  # type: ignore[arg-type]  # fastavro writes unions too
                continue
            self.good += [(prefix, schema), (b"\xc3\x01" + fingerprint(schema).value, schema)]

    def __call__(self, key: SchemaKey) -> Schema:
        if key not in self._schemas:
            raise UnknownSchemaError(f"nobody knows {key}")
        return self._schemas[key]


def evolve(rng: Random) -> Schema:
    """An older or newer writer of the reader's record: other names, types and order, fields more and fewer."""
    fields = []
    for field in READER["fields"]:
        needed = "default" not in field
        if rng.random() < (0.02 if needed else 0.1):
            continue
        name = rng.choice([field["name"], *field.get("aliases", ())]) if rng.random() < 0.4 else field["name"]
        others = {"ts": TIMES, "module_id": ("bytes",), "rack_id": ("bytes", ["null", "string"])}
        others |= {each["name"]: WHOLE for each in READER["fields"] if "long" in each["type"] and each["name"] != "ts"}
        avro_type = field["type"]
        if rng.random() < (0.07 if needed else 0.2):
            avro_type = rng.choice(others.get(field["name"], SENSORS))
        elif isinstance(avro_type, list) and rng.random() < 0.3:
            avro_type = avro_type[::-1]
        fields.append({"name": name, "type": avro_type})
    fields += [{"name": f"extra{i}", "type": random_type(rng, f"T{i}")} for i in range(rng.randrange(4))]
    if rng.random() < 0.5:
        rng.shuffle(fields)
    fields = [f if "D" not in str(f["type"]) else _with_own_names(f) for f in fields]
    return {"type": "record", "name": READER["name"], "namespace": READER["namespace"], "fields": fields}


def _with_own_names(field: Schema) -> Schema:
    """Fixed decimals of several fields must not share a name."""
    branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
    named = [
        {**b, "name": f"{b['name']}_{field['name']}"} if isinstance(b, dict) and b["type"] == "fixed" else b
        for b in branches
    ]
    return {**field, "type": named if isinstance(field["type"], list) else named[0]}


def random_type(rng: Random, name: str, depth: int = 2) -> Any:
    """Any Avro type; its named types begin with this name."""
    kind = rng.choice(
        [*PRIMITIVES, "enum", "fixed", "logical", *(("array", "map", "record", "union") if depth else ())]
    )
    if kind == "enum":
        return {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}
    if kind == "fixed":
        return {"type": "fixed", "name": name, "size": rng.choice([0, 1, 16])}
    if kind == "logical":
        return rng.choice(LOGICAL)
    if kind in ("array", "map"):
        inner = random_type(rng, name + "i", depth - 1)
        costs_nothing = inner == "null" or (isinstance(inner, dict) and inner.get("size") == 0)
        return {"type": kind, "items" if kind == "array" else "values": "string" if costs_nothing else inner}
    if kind == "record":
        inner = [{"name": f"f{i}", "type": random_type(rng, f"{name}r{i}", depth - 1)} for i in range(2)]
        return {"type": "record", "name": name, "fields": [*inner, {"name": "end", "type": "boolean"}]}
    return rng.choice([["null", "string"], ["double", "null"], ["int", "string", "null"]]) if kind == "union" else kind


def random_value(rng: Random, schema: Any) -> Any:  # noqa: PLR0911 - a case for each kind of type
    """A value that a writer with this schema could send."""
    if isinstance(schema, list):
        return random_value(rng, rng.choice(schema))
    kind = schema if isinstance(schema, str) else schema["type"]
    if isinstance(kind, (dict, list)):
        return random_value(rng, kind)
    match kind:
        case "record":
            return {f["name"]: _field_value(rng, f) for f in schema["fields"]}
        case "array":
            return [random_value(rng, schema["items"]) for _ in range(rng.randrange(4))]
        case "map":
            return {str(i): random_value(rng, schema["values"]) for i in range(rng.randrange(4))}
        case "enum":
            return rng.choice(schema["symbols"])
        case "fixed":
            return rng.randbytes(schema["size"])
    return _primitive(rng, kind)


def _field_value(rng: Random, field: Schema) -> Any:
    if field["type"] == "string" and rng.random() < 0.9:
        return f"m{rng.randrange(20)}"
    if "ts" in field["name"].lower() or "time" in field["name"].lower():
        time_ms = START_MS + rng.randrange(10**6)
        if "string" in str(field["type"]) and rng.random() < 0.8:
            return rng.choice(ISO)
        return random_value(rng, field["type"]) if field["type"] != READER["fields"][2]["type"] else time_ms
    return random_value(rng, field["type"])


def _primitive(rng: Random, kind: str) -> Any:  # noqa: PLR0911 - a case for each type
    match kind:
        case "null":
            return None
        case "boolean":
            return rng.random() < 0.5
        case "int":
            return rng.choice([0, -1, 2**31 - 1, -(2**31), rng.randrange(10**6)])
        case "long":
            return rng.choice([0, -1, 2**63 - 1, -(2**63), 2**53 + 1, rng.randrange(10**6)])
        case "float" | "double":
            number = rng.choice(FLOATS) if rng.random() < 0.3 else rng.random() * 100
            return struct.unpack("<f", struct.pack("<f", _within_float(number)))[0] if kind == "float" else number
        case "bytes":
            return rng.randbytes(rng.randrange(12))
    return rng.choice(TEXTS)


def _within_float(number: float) -> float:
    return number if math.isinf(number) or abs(number) < 3e38 else 1.5
