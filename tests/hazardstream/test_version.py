"""The version stands in pyproject.toml; whatever else names it agrees."""

import re
import tomllib

import pytest

from tests.commands import hazardstream
from tests.repository import ROOT

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_command_prints_the_version_of_the_project() -> None:
    done = hazardstream("--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"hazardstream {VERSION}\n"


def test_help_still_describes_the_program() -> None:
    done = hazardstream("--help")
    assert "--version" in done.stdout
    assert "Exactly-once streaming scorer" in done.stdout


@pytest.mark.parametrize("file", ["docker-compose.yml", "docs/docker.md"])
def test_images_are_tagged_with_the_version_of_the_project(file: str) -> None:
    tags = re.findall(r"hazardstream-(?:worker|training):([0-9][^\s@]*)", (ROOT / file).read_text())
    assert tags
    assert set(tags) == {VERSION}
