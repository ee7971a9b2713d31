"""How tests ask what is wrong with a pipeline file."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.errors import UserError
from schemas.load import Schema
from tests.flagship import WITHOUT_RULES, write_folder
from worker.config.pipeline import load_pipeline

GOOD = WITHOUT_RULES
FIX = re.compile(r"; |did you mean|there are ")


def write(tmp_path: Path, text: str | bytes, schemas: Mapping[str, Schema] | None = None) -> Path:
    """A folder with a pipeline file of this text, and with schemas of the flagship pipeline but for these."""
    return write_folder(tmp_path, text, schemas, "own.yaml")


def told(file: Path) -> list[str]:
    """Faults of a pipeline file, each of which must name file, line and fix."""
    with pytest.raises(UserError) as refused:
        load_pipeline(str(file))
    lines = str(refused.value).split("\n")
    for line in lines:
        assert re.match(rf"{re.escape(str(file))}:\d+: ", line), line
        assert FIX.search(line), line
        assert line.isprintable()
    return lines


def line_of(text: str, marker: str) -> int:
    return next(n for n, line in enumerate(text.split("\n"), 1) if marker in line)
