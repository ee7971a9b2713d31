"""Every path and link in the documentation leads somewhere, and every page can be reached from the README."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository import ROOT

TOP = "worker|schemas|producers|training|pipelines|local|common|hazardstream|tests|benchmarks|docs"
# Not part of a longer path or an address, and not an option or a placeholder.
MENTIONED = re.compile(rf"(?<![\w./:-])(?:{TOP})/[\w./*-]*[\w*/]")
MODULE = re.compile(rf"python -m ((?:{TOP})[\w.]*)")
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
        *(ROOT / "pipelines").rglob("README.md"),
    ]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for line in CODE.sub("", page.read_text()).splitlines():
        if line.startswith("#"):
            text = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower().replace("`", ""))
            found.add(text.replace(" ", "-"))
    return found


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of each link of a page to a file of the repository."""
    for target, anchor in LINK.findall(CODE.sub("", page.read_text())):
        if ":" not in target:
            yield ((page.parent / target).resolve() if target else page, anchor)


def exists(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_path_on_a_page_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    modules = [module.replace(".", "/") for module in MODULE.findall(text)]

    missing = {path for path in MENTIONED.findall(text) if not exists(path)}
    missing |= {module for module in modules if not (exists(module) or exists(f"{module}.py"))}

    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_every_link_on_a_page_leads_somewhere(name: str) -> None:
    for path, anchor in links(ROOT / name):
        assert path.exists(), path
        if anchor and path.suffix == ".md":
            assert anchor in headings(path), f"{path.relative_to(ROOT)}#{anchor}"


def test_every_page_and_picture_can_be_reached_from_the_readme() -> None:
    reached, queue = set[Path](), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        if page.suffix == ".md":
            queue += [path for path, _ in links(page)]

    unreached = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.*") if path not in reached}

    assert not unreached


@pytest.mark.parametrize("text", ["see worker/no_such.py.", "`schemas/avro/*.nothing`", "(docs/nowhere.md)"])
def test_a_missing_path_is_found(text: str) -> None:
    assert [path for path in MENTIONED.findall(text) if not exists(path)]


@pytest.mark.parametrize("text", ["https://x.org/docs/page", "/schemas/ids/7", "build/docs/page"])
def test_an_address_is_not_a_path(text: str) -> None:
    assert not MENTIONED.findall(text)
