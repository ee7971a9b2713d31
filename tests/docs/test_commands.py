"""Every command and option in the documentation exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from hazardstream.cli import app
from tests.repository import ROOT

PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "pipelines").rglob("README.md")]
)
BLOCK = re.compile(r"^```(?:sh|text)?\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"^(?:\$ )?(?:time )?(?:[A-Z_]+=\S+ )?hazardstream (.*)$")
MAIN = typer.main.get_command(app)


def command_lines(page: Path) -> Iterator[str]:
    for block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if found := PROGRAM.match(line):
                yield found[1]


def unknown(line: str) -> list[str]:
    """The command, or those of its options, that do not exist."""
    words, command = shlex.split(line, comments=True), MAIN
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        found = command.commands.get(words.pop(0))
        if found is None:
            return [line]
        command = found
    known = {"--help"} | {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists(page: str) -> None:
    assert not [fault for line in command_lines(ROOT / page) for fault in unknown(line)]


@pytest.mark.parametrize("line", ["nothing", "worker --nothing 1", "dlq nothing", "topics create --nothing"])
def test_an_unknown_command_or_option_is_found(line: str) -> None:
    assert unknown(line)
