"""Rules of the house: sizes of functions and modules, no import cycles, no domain words in the engine."""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import grimp
import pytest
import yaml

from tests.repository import ROOT

PRODUCT = (
    "hazardstream",
    "benchmarks",
    "local",
    "pipelines",
    "training",
    "producers",
    "serve",
    "sink",
    "worker",
    "schemas",
    "common",
)
PACKAGES = (*PRODUCT, "tests")
LINES_OF_A_FUNCTION, LINES_OF_A_MODULE = 60, 300
MEDIAN_LINES_OF_A_MODULE = 120


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


def test_the_median_module_has_fewer_than_120_lines() -> None:
    lengths = [
        lines
        for package in PRODUCT
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines()))
    ]

    assert median(lengths) < MEDIAN_LINES_OF_A_MODULE


def cycle(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """The names on one cycle of imports, or nothing when there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module of the product imports, but for imports that only a type checker follows."""
    graph = grimp.build_graph(*PRODUCT, exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_no_modules_import_each_other_in_a_cycle(imports: dict[str, set[str]]) -> None:
    assert {module.partition(".")[0] for module in imports} == set(PRODUCT)
    assert cycle(imports) == []


@pytest.mark.parametrize("package", PRODUCT)
def test_no_sub_packages_import_each_other_in_a_cycle(imports: dict[str, set[str]], package: str) -> None:
    children: dict[str, set[str]] = {}
    for module, imported in imports.items():
        if module.startswith(f"{package}."):
            child = module.split(".")[1]
            others = {name.split(".")[1] for name in imported if name.startswith(f"{package}.")}
            children.setdefault(child, set()).update(others - {child})

    assert children
    assert cycle(children) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


ENGINE = ("worker", "schemas", "producers", "training", "serve", "sink", "common")
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


ORDINARY = {"event", "plan", "population", "ts"}
"""Fields of pipelines that are also words of English or of the engine: population stability index, a test plan."""


def own_fields() -> set[str]:
    """Names of the fields of the records that pipelines read."""
    files = {
        file.parent / f"{yaml.safe_load(file.read_text())['input']['schema']}.avsc"
        for file in (ROOT / "pipelines").glob("*/*.yaml")
        if file.name != "tests.yaml"  # fixtures
    }
    return {field["name"] for file in files for field in json.loads(file.read_text())["fields"]} - ORDINARY


# One of the older request shapes that serve/compatibility.py reads has a key of that name, too.
@pytest.mark.parametrize("package", [name for name in ENGINE if name != "serve"])
def test_the_engine_names_no_field_of_a_pipeline(package: str) -> None:
    words = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(map(re.escape, sorted(own_fields())))})(?![A-Za-z0-9_])")
    named = [
        f"{path.relative_to(ROOT)}:{number}: {word[0]}"
        for path in sorted((ROOT / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (word := words.search(line))
    ]

    assert not named, "; ".join(named)


def test_fields_of_all_pipelines_are_known() -> None:
    assert own_fields() >= {"module_id", "transportation_expense", "ocean_proximity", "pixel_0_0", "marketing_source"}


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
