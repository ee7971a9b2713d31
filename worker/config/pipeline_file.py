"""A YAML file as plain values, with the line that each of them stands on."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from common.errors import UserError
from common.text import shown

_LARGEST_BYTES = 1_000_000
# More values than any pipeline needs, and few enough that anchors of anchors cannot fill the memory.
_MOST_VALUES = 20_000
_DEEPEST = 30
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_SURROGATE = re.compile("[\ud800-\udfff]")

FILE_NAME = "pipeline.yaml"
Place = tuple[str | int, ...]


class Located(NamedTuple):
    """What a file holds. lines: number of the line, from 1, of each place (names and numbers from the outermost in)."""

    path: Path
    values: Any
    lines: dict[Place, int]

    def line(self, at: Place) -> int:
        """The line of a place, or of what it would stand in."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    def fault(self, at: Place, text: str) -> str:
        """A fault in words: file, line, place, what is wrong and what to do."""
        place = ".".join(shown(part, 60) for part in self._named(at))
        return f"{shown(self.path)}:{self.line(at)}: {f'{place}: ' if place else ''}{text}"

    def _named(self, at: Place) -> Place:
        """A place where a feature has its name instead of its number."""
        match at:
            case ("features", int(number), *rest):
                feature = self.values["features"][number]
                name = feature.get("name") if isinstance(feature, dict) else feature
                return ("features", name, *rest) if isinstance(name, str) else at
        return at


def read_yaml(path: Path) -> Located:
    """Read a file of one YAML document.

    Raises:
        UserError: it cannot be read, is no YAML, or gives one name twice; the text names file, line and fix.
    """
    text = _text(path)
    lines: dict[Place, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise UserError(
                f"{shown(path)}:1: the file is empty; docs/pipelines.md and docs/testing.md show what belongs there"
            )
        faults = _Walk(path, lines).faults(node)
        if faults:
            raise UserError("\n".join(faults))
        return Located(path, _values(loader, node), lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = shown(error.problem or error.context or "it cannot be read", 200)
        tab = "; indent with spaces, not tabs" if "\\t" in problem else "; correct the YAML there"
        raise UserError(f"{shown(path)}:{line}: not valid YAML: {problem}{tab}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UserError(f"{shown(path)}:1: not valid YAML: {shown(error, 200)}; correct it") from error
    except RecursionError as error:
        raise UserError(f"{shown(path)}:1: the values are nested too deeply; a pipeline needs few levels") from error


def _values(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    except (KeyError, AttributeError, TypeError) as error:  # of a tag such as !!bool or !!timestamp
        raise ValueError("a value is not of the type that its tag (!!) says; take the tag out") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be read ({error.strerror}); name a pipeline file") from error
    if len(data) > _LARGEST_BYTES:
        raise UserError(f"{shown(path)}: larger than {_LARGEST_BYTES:,} bytes; is it a pipeline file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{shown(path)}:{line}: not UTF-8 text; save the file as UTF-8") from error


class _Walk:
    """Walks a document, follows anchors, notes lines, and stops at an anchor that contains itself."""

    def __init__(self, path: Path, lines: dict[Place, int]) -> None:
        self._path, self._lines, self._seen = path, lines, 0

    def faults(self, node: yaml.Node, at: Place = ()) -> list[str]:
        """What is wrong with names below a node."""
        self._seen += 1
        if self._seen > _MOST_VALUES or len(at) > _DEEPEST:
            line = node.start_mark.line + 1
            raise UserError(f"{shown(self._path)}:{line}: too many or too deep values; take anchors (&, *) out")
        self._lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [fault for n, child in enumerate(node.value) for fault in self.faults(child, (*at, n))]
        if isinstance(node, yaml.ScalarNode) and _SURROGATE.search(node.value):
            return [
                f"{shown(self._path)}:{node.start_mark.line + 1}: half a character (\\ud800 to \\udfff); correct it"
            ]
        if not isinstance(node, yaml.MappingNode):
            return []
        found, lines_of = [], dict[str, int]()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                found += self.faults(value, at)
                continue
            if key.tag != _TEXT:
                shape = f"the name {shown(key.value, 60)}" if isinstance(key, yaml.ScalarNode) else "a name"
                found.append(f"{shown(self._path)}:{line}: {shape} is not text; put it in quotes")
                continue
            if (first := lines_of.setdefault(key.value, line)) != line:
                place = ".".join(shown(part, 60) for part in (*at, key.value))
                found.append(
                    f"{shown(self._path)}:{line}: {place}: given on line {first} already; take one of them out"
                )
            self._lines[*at, key.value] = line
            found += self.faults(value, (*at, key.value))
        return found
