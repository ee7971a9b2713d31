"""The architecture page lists the packages in the order of the layers that the import linter checks."""

import configparser
import re

import pytest

from tests.repository import ROOT


def layers(contract: str) -> list[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    return [layer.strip() for layer in config[f"importlinter:contract:{contract}"]["layers"].split("\n") if layer]


@pytest.mark.parametrize("contract", ["packages", "worker"])
def test_the_tables_list_the_packages_in_the_order_of_their_layers(contract: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page[page.index("## Packages") : page.index("## What makes it exactly once")]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    named = [
        name.strip("/").removesuffix(".py").replace("/", ".") for row in rows for name in re.findall(r"`(.*?)`", row)
    ]

    known = layers(contract)

    assert [name for name in named if name in known] == known
