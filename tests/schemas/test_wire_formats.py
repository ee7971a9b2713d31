"""Prefixes of both wire formats, against vectors published by Apache Avro."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedError
from schemas.load import parsed
from schemas.wire import (
    ConfluentId,
    Fingerprint,
    confluent_prefix,
    fingerprint,
    parse_prefix,
    single_object_prefix,
)
from tests.flagship import KNOWN_SCHEMAS, flagship_schema

# From share/test/data/schema-tests.txt of Apache Avro; the fingerprints there are signed 64-bit numbers.
APACHE_VECTORS = [
    ("null", 7195948357588979594),
    ("boolean", -6970731678124411036),
    ({"type": "int"}, 8247732601305521295),
    ("long", -3434872931120570953),
    ("double", -8181574048448539266),
    ({"fields": [], "type": "record", "name": "foo", "namespace": "x.y"}, 5916914534497305771),
    ({"fields": [], "type": "record", "name": "foo", "doc": "foo", "aliases": ["bar"]}, -4824392279771201922),
    (
        {
            "fields": [
                {"type": "boolean", "aliases": [], "name": "f1", "default": True},
                {"order": "descending", "name": "f2", "doc": "Hello", "type": "int"},
            ],
            "type": "record",
            "name": "foo",
        },
        -4860222112080293046,
    ),
    ({"namespace": "x.y.z", "type": "enum", "name": "foo", "doc": "d", "symbols": ["A1", "A2"]}, -4448647247586288245),
    ({"items": {"type": "null"}, "type": "array"}, -589620603366471059),
]


@pytest.mark.parametrize(("schema", "number"), APACHE_VECTORS)
def test_fingerprints_are_those_of_the_apache_test_suite(schema: object, number: int) -> None:
    assert fingerprint(schema) == Fingerprint(struct.pack("<q", number))


def test_a_single_object_begins_as_in_the_apache_test_suite() -> None:
    # lang/ruby/test/test_fingerprints.rb: test_single_object_encoding_header
    assert single_object_prefix({"type": "int"}) == bytes.fromhex("c301 8f5c393f1ad57572")


def test_the_fingerprint_is_the_same_parsed_or_not_and_without_docs_or_aliases() -> None:
    schema = flagship_schema("SensorReading")
    bare = {**schema, "doc": "", "fields": [{"name": f["name"], "type": f["type"]} for f in schema["fields"]]}
    assert fingerprint(schema) == fingerprint(parsed(schema)) == fingerprint(bare)


def test_every_shipped_schema_is_found_by_its_fingerprint() -> None:
    for name in ("SensorReading", "HazardPrediction", "HazardAlarm", "HazardState"):
        assert KNOWN_SCHEMAS[fingerprint(flagship_schema(name))] == flagship_schema(name)


def test_a_confluent_prefix_is_a_zero_and_the_id_big_endian() -> None:
    assert confluent_prefix(0x01020304) == b"\x00\x01\x02\x03\x04"


@given(st.integers(1, 2**32 - 1), st.binary(max_size=20))
def test_a_confluent_prefix_is_read_back(schema_id: int, body: bytes) -> None:
    assert parse_prefix(confluent_prefix(schema_id) + body) == (ConfluentId(schema_id), 5)


@given(st.binary(max_size=20))
def test_a_single_object_prefix_is_read_back(body: bytes) -> None:
    schema = flagship_schema("SensorReading")
    assert parse_prefix(single_object_prefix(schema) + body) == (fingerprint(schema), 10)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "empty"),
        (b"\x00\x00\x00\x01", "5-byte prefix"),
        (b"\xc3\x01\x00", "10-byte prefix"),
        (b"\xc3", "c3"),
        (b"\xc3\x02" + bytes(8), "c3 02"),
        (b'{"module_id": "M1"}', "7b 22"),
    ],
)
def test_what_begins_like_neither_format_is_malformed(value: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        parse_prefix(value)


@given(st.binary(max_size=30))
def test_any_bytes_are_either_taken_apart_or_malformed(value: bytes) -> None:
    try:
        key, start = parse_prefix(value)
    except MalformedError:
        assert value[:1] != b"\x00" or len(value) < 5
        assert value[:2] != b"\xc3\x01" or len(value) < 10
    else:
        assert isinstance(key, ConfluentId | Fingerprint)
        prefix = confluent_prefix(key.value) if isinstance(key, ConfluentId) else b"\xc3\x01" + key.value
        assert value[:start] == prefix
