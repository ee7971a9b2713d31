"""A value that breaks is read up to where it breaks, in either wire format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode_fields, encode
from schemas.errors import UnknownSchemaError
from schemas.load import Schema, parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import ConfluentId, SchemaKey, confluent_prefix, single_object_prefix
from tests.flagship import KNOWN_SCHEMAS, flagship_schema

READER = flagship_schema("SensorReading")
RECORD = {"module_id": "m", "rack_id": "r", "ts": 5, "voltage_v": 51.0, "soc_percent": None}
RECORD |= {f["name"]: 1.5 if "double" in f["type"] else 1 for f in READER["fields"] if f["name"] not in RECORD}
ORDER = [f["name"] for f in READER["fields"]]


def ours(_key: SchemaKey) -> Schema:
    return READER


@pytest.mark.parametrize("prefix", [confluent_prefix(7), single_object_prefix(READER)], ids=["Confluent", "Avro"])
@given(data=st.data())
def test_a_value_cut_anywhere_shows_the_fields_before_the_cut(prefix: bytes, data: st.DataObject) -> None:
    whole = encode(RECORD, parsed(READER), prefix)
    cut = data.draw(st.integers(len(prefix), len(whole)))
    found = decode_fields(whole[:cut], ours, READER)
    assert [*found.record, *found.unread] == ORDER
    assert found.record == {name: RECORD[name] for name in found.record}
    assert (found.fault is None) == (cut == len(whole)) == (not found.unread)


@given(st.binary(max_size=80))
def test_no_bytes_are_too_strange_to_be_looked_at(noise: bytes) -> None:
    decode_fields(noise, writer_schema_lookup(None, KNOWN_SCHEMAS), READER)
    for prefix in (confluent_prefix(7), single_object_prefix(READER)):
        found = decode_fields(prefix + noise, ours, READER)
        assert len(found.record) + len(found.unread) == len(ORDER)


def test_bytes_behind_the_record_are_reported() -> None:
    found = decode_fields(encode(RECORD, parsed(READER), confluent_prefix(7)) + b"xy", ours, READER)
    assert (found.record, found.unread) == (RECORD, [])
    assert str(found.fault).startswith("2 bytes follow the record")


def test_a_record_of_another_kind_is_shown_in_its_own_words() -> None:
    theirs = {"type": "record", "name": "Other", "fields": [{"name": "who", "type": "string"}]}
    found = decode_fields(confluent_prefix(7) + b"\x04me", lambda _: theirs, READER)
    assert (found.record, found.fault) == ({"who": "me"}, None)


def test_a_schema_nobody_knows_is_named() -> None:
    def nobody(key: SchemaKey) -> Schema:
        raise UnknownSchemaError(f"nobody knows {key}")

    found = decode_fields(confluent_prefix(7) + b"\x04me", nobody, READER)
    assert found == (ConfluentId(7), {}, [], "nobody knows registry id 7")
