"""How tests ask what is wrong with a pipeline file."""

import re
from pathlib import Path

import pytest

from common.errors import UserError
from worker.config.pipeline import BUNDLED, load_pipeline

GOOD = (BUNDLED / "battery_hazard.yaml").read_text(encoding="utf-8")
FIX = re.compile(r"; |did you mean|there are ")


def write(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "own.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


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
