"""Fixtures of a pipeline: rows, and what the worker has to make of them. docs/testing.md describes the file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from common.errors import UserError
from common.text import shown
from schemas.conversions import iso_to_ms
from schemas.errors import InvalidValueError
from worker.config.inputs_outputs import Strict
from worker.config.pipeline import Pipeline
from worker.config.pipeline_check import shape_faults
from worker.config.pipeline_file import Located, read_yaml
from worker.in_memory import InMemory, Message, Results
from worker.model.contract import Model
from worker.score.event_time import LATEST_MS

FILE_NAME = "tests.yaml"
# No field of an Avro record has a name with such a sign.
_KEY, _TIMESTAMP = "$key", "$timestamp"
_WRITE = "write for example 2026-01-31T12:00:00Z"
Record = dict[str, Any]


class Rejected(Strict):
    """An expected dead letter: `row` counts the rows of the fixture from 0."""

    row: int
    reason: str


class Fixture(Strict):
    """One test. It begins without windows and alarms. What is left out is not compared.

    Attributes:
        name: for people.
        rows: in the order in which they are sent.
        predictions, alarms: each of them in order; of a record, only the fields that are named are compared.
        dead_letters: each of them in order.
        duplicates: how many readings are dropped because they were sent before.
    """

    name: str = Field(min_length=1, max_length=200)
    rows: list[Record] = Field(min_length=1)
    predictions: list[Record] | None = None
    alarms: list[Record] | None = None
    dead_letters: list[Rejected] | None = None
    duplicates: int | None = None


class Fixtures(Strict):
    """A whole file.

    Attributes:
        tests: the fixtures.
        tolerance: largest relative difference of two numbers that count as equal; below 1, the largest absolute one.
    """

    tests: list[Fixture] = Field(min_length=1)
    tolerance: float = Field(1e-9, ge=0, lt=1)


class Tested(NamedTuple):
    """What came of a fixture: how the results differ from what is expected; nothing if they do not."""

    name: str
    differences: list[str]


def read_fixtures(path: Path) -> Fixtures:
    """Read a file of fixtures, YAML or JSON.

    Raises:
        UserError: it cannot be read or has another form; the text names file, line and fix.
    """
    if not path.is_file():
        raise UserError(f"there are no fixtures: no file {shown(path)}; write one (docs/your-model.md) or give --file")
    file = read_yaml(path)
    try:
        return Fixtures.model_validate(file.values)
    except ValidationError as error:
        raise UserError(_faults(file, error)) from error


def _faults(file: Located, error: ValidationError) -> str:
    found = sorted(shape_faults(error, Fixtures), key=lambda fault: file.line(fault[0]))
    return "\n".join(file.fault(at, text) for at, text in found)


def run_fixtures(pipeline: Pipeline, model: Model, fixtures: Fixtures) -> Iterator[Tested]:
    """Run each fixture through the worker's own stages.

    Raises:
        UserError: a row does not fit the input's schema.
        ModelFailedError: the model fails.
    """
    for fixture in fixtures.tests:
        try:
            results = InMemory(pipeline, model).process([as_message(pipeline, row) for row in fixture.rows])
        except UserError as error:
            raise UserError(f"test {shown(fixture.name)!r}: {error}") from error
        yield Tested(fixture.name, list(_differences(fixture, results, fixtures.tolerance)))


def as_message(pipeline: Pipeline, row: Mapping[str, Any]) -> Message:
    """A row of a fixture as a message: `$key` and `$timestamp` are those of the message, all others its fields.

    Raises:
        UserError: a time is not ISO 8601.
    """
    source = pipeline.input
    value = {name: given for name, given in row.items() if name not in {_KEY, _TIMESTAMP}}
    if source.time_field is not None and source.time_field in value:
        value[source.time_field] = _time(source.time_field, value[source.time_field])
    own = value.get(source.key_field or "")
    key = row.get(_KEY, own)
    sent = _time(_TIMESTAMP, row.get(_TIMESTAMP))
    if sent is not None and not (isinstance(sent, int) and 0 <= sent < LATEST_MS):
        raise UserError(f"{_TIMESTAMP}: {shown(repr(sent), 60)} is no time; {_WRITE}")
    return Message(value, None if key is None else str(key), sent)


def _time(name: str, value: Any) -> Any:
    """Milliseconds since 1970, of ISO 8601 or a date of YAML; anything else as it is."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return round(value.timestamp() * 1000)
    if isinstance(value, date):
        raise UserError(f"{name}: {value} says no time zone or no time of day; {_WRITE}")
    if isinstance(value, str):
        try:
            return iso_to_ms(value, None)
        except InvalidValueError as error:
            raise UserError(f"{name}: {error}; {_WRITE}") from error
    return value


def _differences(fixture: Fixture, results: Results, tolerance: float) -> Iterator[str]:
    for role, expected, found in (
        ("predictions", fixture.predictions, results.predictions),
        ("alarms", fixture.alarms, results.alarms),
    ):
        if expected is not None:
            yield from _records(role, expected, found, tolerance)
    if fixture.dead_letters is not None:
        expected_letters = [each.model_dump() for each in fixture.dead_letters]
        letters = [{"row": each.row, "reason": str(each.reason)} for each in results.dead_letters]
        yield from _records("dead_letters", expected_letters, letters, tolerance)
    elif results.dead_letters:
        first = results.dead_letters[0]
        yield f"row {first.row} is a dead letter, {first.reason}: {first.message}; expect it under dead_letters"
    if fixture.duplicates is not None and fixture.duplicates != results.duplicates:
        yield f"{results.duplicates} readings are duplicates, expected {fixture.duplicates}"


def _records(role: str, expected: Sequence[Record], found: Sequence[Record], tolerance: float) -> Iterator[str]:
    if len(expected) != len(found):
        yield f"there are {len(found)} {role}, expected {len(expected)}"
    for number, (wanted, given) in enumerate(zip(expected, found, strict=False)):
        for name, value in wanted.items():
            if name not in given:
                yield f"{role}[{number}] has no field {shown(name)!r}; it has {', '.join(given)}"
            elif not _equal(value, given[name], tolerance):
                yield f"{role}[{number}].{name} is {shown(repr(given[name]))}, expected {shown(repr(value))}"


def _equal(expected: Any, found: Any, tolerance: float) -> bool:
    """Whether a value is as expected. Of a record within it, only the named fields count."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return all(name in found and _equal(value, found[name], tolerance) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_equal, expected, found, [tolerance] * len(found)))
    if isinstance(expected, datetime | str) and isinstance(found, int):
        with suppress(UserError):
            return bool(_time("", expected) == found)
    numbers = isinstance(expected, int | float) and isinstance(found, int | float)
    if numbers and not (isinstance(expected, bool) or isinstance(found, bool)):
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    return bool(expected == found)
