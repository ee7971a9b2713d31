"""Fixtures of a pipeline: what is compared, and what is said where the results differ."""

from pathlib import Path

import pytest

from common.errors import UserError
from tests.flagship import PIPELINE
from worker.authoring.fixtures import read_fixtures, run_fixtures
from worker.model.package import ModelPackage

ROWS = """
      - {module_id: m, rack_id: r, ts: 2026-01-01T00:00:00Z, voltage_v: 52.0}
      - {module_id: m, rack_id: r, ts: 2026-01-01T00:00:00Z, voltage_v: 52.0}
      - {module_id: m, rack_id: r, ts: "2026-01-01T00:00:10Z"}
"""


def differences(package: ModelPackage, file: Path, text: str) -> list[str]:
    file.write_text(f"tests:\n  - name: one\n    rows:{ROWS}{text}")
    (tested,) = run_fixtures(PIPELINE, package, read_fixtures(file))
    return tested.differences


def test_what_is_as_expected_passes(package: ModelPackage, tmp_path: Path) -> None:
    expected = """
    predictions: [{module_id: m, hazardous: false, ts: "2026-01-01T00:00:00Z", imputed: []}]
    dead_letters: [{row: 2, reason: invalid}]
    duplicates: 1
"""
    assert differences(package, tmp_path / "tests.yaml", expected) == []


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ("    predictions: []", "there are 1 predictions, expected 0"),
        ("    predictions: [{hazard: 1}]", "predictions[0] has no field 'hazard'"),
        ("    predictions: [{rack_id: s}]", "predictions[0].rack_id is 'r', expected 's'"),
        ("    predictions: [{hazard_probability: 0.5}]", "expected 0.5"),
        ("    alarms: [{}]", "there are 0 alarms, expected 1"),
        ("    dead_letters: [{row: 2, reason: late}]", "dead_letters[0].reason is 'invalid', expected 'late'"),
        ("    predictions: [{}]", "row 2 is a dead letter, invalid"),
        ("    duplicates: 0", "1 readings are duplicates, expected 0"),
    ],
)
def test_each_difference_is_named(package: ModelPackage, tmp_path: Path, expected: str, difference: str) -> None:
    found = differences(package, tmp_path / "tests.yaml", expected)
    assert any(difference in text for text in found), found


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tests: []", r":1: tests"),
        ("tests:\n  - name: a\n    row: [{}]", r":3: tests.0.row: there is no such setting; did you mean 'rows'"),
        ("tests:\n  - name: a\n    rows: [{at: 1}]\n    dead_letters: [{row: x, reason: late}]", r":4: .*row"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "tests.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=fault):
        read_fixtures(file)


def test_a_row_that_does_not_fit_the_schema_is_named(package: ModelPackage, tmp_path: Path) -> None:
    file = tmp_path / "tests.yaml"
    file.write_text("tests: [{name: one, rows: [{module_id: m, rack_id: r, ts: yesterday}]}]")
    with pytest.raises(UserError, match=r"test 'one': ts: .*'yesterday'.*2026-01-31T12:00:00Z"):
        list(run_fixtures(PIPELINE, package, read_fixtures(file)))


@pytest.mark.parametrize(
    "row",
    [
        "{module_id: m, rack_id: r, ts: 2026-01-01 00:00:00}",
        "{module_id: m, rack_id: r, ts: 2026-01-01}",
        "{module_id: m, rack_id: r, ts: 0, $timestamp: 1.5}",
        "{module_id: m, rack_id: r, ts: 0, $timestamp: 99999999999999999999}",
    ],
)
def test_a_time_that_could_be_read_in_two_ways_is_refused(package: ModelPackage, tmp_path: Path, row: str) -> None:
    file = tmp_path / "tests.yaml"
    file.write_text(f"tests: [{{name: one, rows: [{row}]}}]")
    with pytest.raises(UserError, match="2026-01-31T12:00:00Z"):
        list(run_fixtures(PIPELINE, package, read_fixtures(file)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*tests\.yaml"):
        read_fixtures(tmp_path / "tests.yaml")
