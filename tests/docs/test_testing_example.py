"""The example of docs/testing.md, run as a user would run it."""

import re

import pytest

from tests.repository import ROOT

TEXT = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
EXAMPLE: dict[str, object] = {}
exec(compile(CODE, "docs/testing.md", "exec"), EXAMPLE)  # noqa: S102 - a text of this repository


@pytest.mark.parametrize("name", sorted(name for name in EXAMPLE if name.startswith("test_")))
def test_the_example_passes(name: str) -> None:
    test = EXAMPLE[name]
    assert callable(test)
    test()
