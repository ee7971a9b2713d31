"""Rules of the house on sizes: no function over 60 lines, no module over 300."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("worker", "schemas", "producers", "training", "local", "benchmarks", "tests")
LINES_OF_A_FUNCTION, LINES_OF_A_MODULE = 60, 300


def too_long(path: Path, source: str) -> Iterator[tuple[str, int]]:
    """The module, if it is too long, and each function that is, by name and length."""
    if (lines := len(source.splitlines())) > LINES_OF_A_MODULE:
        yield f"{path}", lines
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_OF_A_FUNCTION:
                yield f"{path}: {node.name}", length


def found(package: str) -> dict[str, int]:
    return {
        name: length
        for path in sorted((ROOT / package).rglob("*.py"))
        for name, length in too_long(path.relative_to(ROOT), path.read_text())
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_over_60_lines_and_no_module_over_300(package: str) -> None:
    oversized = found(package)

    assert not oversized, "split these: " + "; ".join(f"{name}: {length} lines" for name, length in oversized.items())


@pytest.mark.parametrize(("lines", "counts"), [(60, 0), (61, 1)])
@pytest.mark.parametrize("head", ["def f():", "async def f():"])
def test_a_function_may_have_60_lines(head: str, lines: int, counts: int) -> None:
    source = "\n".join([head, *["    pass"] * (lines - 1)])

    assert list(too_long(Path("m.py"), source)) == [("m.py: f", 61)] * counts


@pytest.mark.parametrize(("lines", "counts"), [(300, 0), (301, 1)])
def test_a_module_may_have_300_lines(lines: int, counts: int) -> None:
    assert list(too_long(Path("m.py"), "x = 1\n" * lines)) == [("m.py", 301)] * counts


ENGINE = ("worker", "schemas", "producers", "training", "common")
DOMAIN = re.compile(
    r"batter(y|ies)|module_id|(?<!client\.)\brack|voltage|thermal|runaway|off_?gas|\bsoc\b|soc_percent|surface_temp"
    r"|ambient_temp|current_a\b|_ppm\b|cells_in_series|capacity_ah|lithium|electrolyte"
    r"|SensorReading|hazard(?!stream|model\b)",
    re.IGNORECASE,
)
"""Words of the flagship pipeline; not `client.rack`, a setting of Kafka's clients; `.hazardmodel`, exported models."""


@pytest.mark.parametrize("package", ENGINE)
def test_the_engine_names_no_domain(package: str) -> None:
    named = [
        f"{path.relative_to(ROOT)}:{number}: {word[0]}"
        for path in sorted((ROOT / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (word := DOMAIN.search(line))
    ]

    assert not named, "say key, group, sensor, reading: " + "; ".join(named)


@pytest.mark.parametrize(
    "text", ["a battery", '"module_id"', "RackB1", "voltage_v", "co_ppm", "HazardAlarm", "SensorReading"]
)
def test_words_of_the_domain_are_found(text: str) -> None:
    assert DOMAIN.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "hazardstream",
        "Python module",
        "client.rack",
        "track",
        "HAZARDSTREAM_PIPELINE",
        "hazardstream.app",
        "x.hazardmodel",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert not DOMAIN.search(text)
