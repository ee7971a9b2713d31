"""What each package imports is declared, by the base installation or by the extras of its commands."""

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.partial_install import PACKAGE, requirements
from tests.repository import ROOT
from tests.test_house import PRODUCT

EXTRAS = {
    "common": ("s3",),
    "worker": ("models", "onnx"),
    "producers": ("replay",),
    "sink": ("sink",),
    "local": ("local",),
    "training": ("training",),
    "pipelines": ("training",),
    "benchmarks": ("dev", "local", "training", "sink"),
}
"""What each package may import beyond the base installation; the commands check for it."""


@pytest.fixture(scope="module")
def provided_by() -> Mapping[str, list[str]]:
    """The distributions that hold a module of this name."""
    return packages_distributions()


@pytest.mark.parametrize("package", PRODUCT)
def test_every_import_is_declared(package: str, provided_by: Mapping[str, list[str]]) -> None:
    declared = {canonicalize_name(r.name) for r in requirements(PACKAGE, EXTRAS.get(package, ()))}
    undeclared = {
        module: sorted(str(path.relative_to(ROOT)) for path in paths)
        for module, paths in _third_party(package).items()
        if not declared & {canonicalize_name(name) for name in provided_by.get(module, [module])}
    }

    assert not undeclared, "declare these in pyproject.toml, or name an extra in EXTRAS"


def _third_party(package: str) -> dict[str, set[Path]]:
    found: dict[str, set[Path]] = {}
    for path in (ROOT / package).rglob("*.py"):
        if path.relative_to(ROOT).parts[:3] == ("benchmarks", "peers", path.name) and path.name.startswith("peer_"):
            continue  # each runs in an environment of its own
        for module in _imported(path):
            if module not in sys.stdlib_module_names and module not in PRODUCT:
                found.setdefault(module, set()).add(path)
    return found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else getattr(node, "names", ())
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (str(getattr(name, "name", name)).partition(".")[0] for name in names)
