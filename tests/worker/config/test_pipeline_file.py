"""A file that is not YAML, or no mapping, is reported with its line and the fix."""

from pathlib import Path

import pytest

from common.errors import UserError
from tests.wrong_pipelines import FIX, write
from worker.config.pipeline import load_pipeline

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
NOT_YAML: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "the file is empty"),
    "only a comment": ("# nothing\n", "the file is empty"),
    "text": ("just text", "mapping of names to values"),
    "a list": ("- a\n- b\n", "mapping of names to values"),
    "binary": (bytes(range(256)), ":2: not UTF-8 text"),
    "nul": (b"name: \0", "not valid YAML"),
    "latin 1": ("name: b\nmodel: grün".encode("latin-1"), ":2: not UTF-8 text; save the file as UTF-8"),
    "tabs": ("name: x\ninput:\n\ttopic: y\n", ":3: not valid YAML: .*indent with spaces"),
    "unclosed": ("name: x\ninput: {topic: y\n", ":3: not valid YAML"),
    "name given twice": ("name: x\nmodel: y\nname: z\n", ":3: name: given on line 1 already; take one of them out"),
    "given twice below": ("input:\n  topic: a\n  topic: b\n", r":3: input\.topic: given on line 2 already"),
    "two documents": ("a: b\n---\nc: d\n", ":2: not valid YAML"),
    "python object": ("name: !!python/object/apply:os.system ['true']\n", ":1: not valid YAML"),
    "anchor bomb": (BOMB, "take anchors .* out"),
    "anchor of itself": ("name: &a [*a]\n", "take anchors .* out|not valid YAML"),
    "deep": ("name: " + "[" * 3000, "nested too deeply|not valid YAML|too deep"),
    "large": ("#" * 1_100_000, "larger than"),
}


@pytest.mark.parametrize("case", NOT_YAML)
def test_a_file_that_is_no_pipeline_is_reported_with_its_line(tmp_path: Path, case: str) -> None:
    text, said = NOT_YAML[case]
    with pytest.raises(UserError, match=said) as refused:
        load_pipeline(str(write(tmp_path, text)))
    assert FIX.search(str(refused.value))
