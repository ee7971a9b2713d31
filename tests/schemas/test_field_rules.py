"""What .avsc files declare beside types: rules for columns and the Pydantic model agree; what is wrong is reported."""

import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.errors import UserError
from schemas.avro_record import AvroRecord
from schemas.field_rules import FieldRules, field_rules
from schemas.folder import SchemaFolder
from schemas.wire import fingerprint

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string", "minLength": 1, "maxLength": 5},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "minimum": 1, "maximum": 2**42},
    {"name": "heat", "type": ["null", "double"], "default": None, "minimum": -60, "maximum": 1500.5, "unit": "°C"},
    {"name": "count", "type": ["null", "long"], "default": None, "minimum": 0},
    {"name": "_free", "type": ["double", "null"]},
    {"name": "copy", "type": {"type": "array", "items": "string"}},
]


def schema(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Thing", "fields": list(fields)}


def record(*fields: dict[str, Any]) -> AvroRecord:
    return AvroRecord("Thing", Path("Thing.avsc"), schema(*fields))


THING = record(*FIELDS)
VALID = {"id": "a", "at": 1, "heat": None, "copy": ["b"]}


def accepted(**changes: Any) -> bool:
    try:
        THING.model.model_validate(VALID | changes)
    except ValidationError:
        return False
    return True


def test_rules_of_each_field() -> None:
    assert THING.rules == {
        "id": FieldRules("text", "string", shortest=1, longest=5),
        "at": FieldRules("whole", "long", "timestamp-millis", low=1, high=2**42),
        "heat": FieldRules("number", "double", nullable=True, low=-60, high=1500.5, unit="°C"),
        "count": FieldRules("whole", "long", nullable=True, low=0),
        "_free": FieldRules("number", "double", nullable=True),
        "copy": FieldRules("other", "array"),
    }


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"id": ""}, False),
        ({"id": "äöüßé"}, True),
        ({"id": "abcdef"}, False),
        ({"id": None}, False),
        ({"id": 1}, False),
        ({"at": 0}, False),
        ({"at": 2**42}, True),
        ({"at": 2**42 + 1}, False),
        ({"at": None}, False),
        ({"heat": -60.0, "count": 0.0, "_free": 1e300}, True),
        ({"heat": math.nextafter(-60, -math.inf)}, False),
        ({"heat": 1500.5}, True),
        ({"heat": 1500.6}, False),
        ({"count": -1.0}, False),
        *[({name: value}, False) for name in ("heat", "count", "_free") for value in (math.nan, math.inf, -math.inf)],
        ({"more": 1}, False),
    ],
)
def test_the_model_applies_the_rules(changes: dict[str, Any], fits: bool) -> None:
    assert accepted(**changes) == fits


@pytest.mark.parametrize("limit", [0, 5.0, 4.4e12, -(2**63), 10**19])
def test_every_accepted_limit_of_an_integer_makes_a_model(tmp_path: Path, limit: float) -> None:
    (tmp_path / "Thing.avsc").write_text(json.dumps(schema({"name": "f", "type": "long", "maximum": limit})))
    model = SchemaFolder(tmp_path).record("Thing").model
    with pytest.raises(ValidationError, match="less than or equal to"):
        model.model_validate({"f": 10**19 + 1})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_model_and_rules_agree(value: float) -> None:
    rules = THING.rules["heat"]
    assert accepted(heat=value) == (rules.low <= value <= rules.high)


def test_faults_name_field_rule_and_value() -> None:
    with pytest.raises(ValidationError) as refused:
        THING.model.model_validate(VALID | {"heat": 2000.0, "_free": math.nan})
    assert [(e["loc"], e["msg"]) for e in refused.value.errors()] == [
        (("heat",), "Input should be less than or equal to 1500.5"),
        (("_free",), "Input should be a finite number"),
    ]


def test_properties_change_neither_fingerprint_nor_bytes() -> None:
    bare = [{"name": field["name"], "type": field["type"]} for field in FIELDS]
    assert fingerprint(schema(*bare)) == fingerprint(schema(*FIELDS))


NUMBER, TEXT = {"name": "f", "type": ["null", "double"]}, {"name": "f", "type": "string"}
WHOLE = {"name": "f", "type": "long"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": (NUMBER | {"minimum": "0"}, "minimum must be a finite number, not '0'; correct it"),
    "yes for a number": (NUMBER | {"maximum": True}, "maximum must be a finite number, not True"),
    "null for a number": (NUMBER | {"maximum": None}, "maximum must be a finite number, not None"),
    "infinite": (NUMBER | {"minimum": -math.inf}, "minimum must be a finite number, not -inf"),
    "not a number": (NUMBER | {"minimum": math.nan}, "minimum must be a finite number, not nan"),
    "beyond doubles": (NUMBER | {"maximum": 10**400}, "maximum must be a finite number"),
    "range the wrong way round": (NUMBER | {"minimum": 2, "maximum": 1}, "minimum 2 is above maximum 1"),
    "lengths the wrong way round": (TEXT | {"minLength": 3, "maxLength": 2}, "minLength 3 is above maxLength 2"),
    "negative length": (TEXT | {"minLength": -1}, "minLength must be a whole number of characters, not -1"),
    "part of a character": (TEXT | {"maxLength": 2.5}, "maxLength must be a whole number of characters, not 2.5"),
    "too long": (TEXT | {"maxLength": 10**25}, "maxLength must be a whole number of characters, not 1000"),
    "part of an integer": (WHOLE | {"maximum": 0.5}, "maximum must be a whole number, not 0.5; correct it"),
    "float beyond integers": (WHOLE | {"minimum": -1e300}, "minimum must be a whole number, not -1e+300"),
    "yes for an integer": (WHOLE | {"minimum": True}, "minimum must be a whole number, not True"),
    "range of a string": (TEXT | {"minimum": 0}, "minimum is only for a number, which this field is not; remove it"),
    "length of a number": (NUMBER | {"maxLength": 9}, "maxLength is only for a string, which this field is not"),
    "unit that is no text": (NUMBER | {"unit": 5}, "unit must be text, not 5"),
    "exclusive": (NUMBER | {"exclusiveMinimum": 0}, "'exclusiveMinimum' is not read; did you mean 'minimum'"),
    "misspelt": (NUMBER | {"minimun": 0}, "'minimun' is not read; did you mean 'minimum'"),
    "short": (NUMBER | {"max": 9}, "'max' is not read; did you mean 'maximum'"),
    "in lower case": (TEXT | {"maxlength": 9}, "'maxlength' is not read; did you mean 'maxLength'"),
    "another spelling": (TEXT | {"max_length": 0}, "'max_length' is not read; did you mean 'maxLength'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_property_is_reported_with_file_and_line(tmp_path: Path, case: str) -> None:
    field, said = WRONG[case]
    (tmp_path / "Thing.avsc").write_text(json.dumps(schema({"name": "first", "type": "string"}, field), indent="\t"))
    with pytest.raises(UserError) as refused:
        SchemaFolder(tmp_path).record("Thing")
    place, _, text = str(refused.value).partition(": ")
    assert re.search(rf"^field 'f': .*{re.escape(said)}", text), text
    file, line = place.rsplit(":", 1)
    assert file == str(tmp_path / "Thing.avsc")
    declared = (tmp_path / "Thing.avsc").read_text().splitlines()[int(line) - 1]
    assert any(f'"{name}"' in declared for name in field.keys() - NUMBER.keys()), declared


def test_all_wrong_properties_are_reported() -> None:
    with pytest.raises(UserError) as refused:
        field_rules(
            schema(NUMBER | {"minimum": "a", "maximum": "b"}, TEXT | {"name": "g", "minLength": "c"}), Path("x")
        )
    assert all(text in str(refused.value) for text in ("minimum must", "maximum must", "minLength must"))


def test_other_properties_are_let_be() -> None:
    assert record(NUMBER | {"sensor": "PT100", "confluent:tags": ["PII"], "maximumAge": 3, "units": "x"}).rules


BROKEN = {
    "not JSON": ('{\n"type": "record",\n}', ":3: not valid JSON"),
    "a list": ("[]", ":1: not an Avro record; make it one"),
    "no record": ('{"type": "enum", "name": "Thing", "symbols": []}', "not an Avro record; make it one"),
    "no fields": ('{"type": "record", "name": "Thing"}', "not an Avro record; make it one"),
    "unknown type": (json.dumps(schema({"name": "f", "type": "nonsense"})), "not a valid Avro schema"),
    "fields that are none": (json.dumps(schema() | {"fields": [1, None]}), "not a valid Avro schema"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "binary": ("\x00\x01", "not valid JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_declares_no_record_is_reported(tmp_path: Path, case: str) -> None:
    text, said = BROKEN[case]
    (tmp_path / "Thing.avsc").write_text(text)
    with pytest.raises(UserError, match=said):
        SchemaFolder(tmp_path).record("Thing")


def test_own_records_go_before_those_of_the_engine_and_older_versions_are_found(tmp_path: Path) -> None:
    (tmp_path / "DriftEvent.avsc").write_text(json.dumps(schema(NUMBER)))
    (tmp_path / "DriftEvent.v1.avsc").write_text(json.dumps(schema(TEXT)))
    folder = SchemaFolder(tmp_path)
    assert folder.record("DriftEvent").schema == schema(NUMBER)
    assert list(folder.record("DriftEvent").versions.values()) == [schema(TEXT), schema(NUMBER)]
    assert folder.record("FeatureSketch").schema["namespace"] == "hazardstream.monitor"
    with pytest.raises(UserError, match=r"no DriftEvend.avsc in .*; did you mean 'DriftEvent'\?"):
        folder.record("DriftEvend")
    with pytest.raises(
        UserError, match=r"no \.\./x\.avsc in .*; name one of DriftEvent, FeatureSketch, or add the file"
    ):
        folder.record("../x")


def test_a_record_goes_to_another_process() -> None:
    assert THING.model.model_fields
    there = pickle.loads(pickle.dumps(THING))  # noqa: S301 - our own
    assert (there.name, there.file, there.schema, there.rules) == (THING.name, THING.file, THING.schema, THING.rules)
