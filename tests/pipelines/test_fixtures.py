"""The fixtures that pipelines bring pass with the model that comes with them."""

import pytest

from tests.commands import hazardstream
from tests.flagship import PIPELINE
from worker.config.pipeline import SHIPPED_PIPELINES

# The models of the others are trained first; tests/pipelines/test_recipes.py reads their fixtures.
WITH_MODEL = [file.parent.name for file in SHIPPED_PIPELINES.glob("*/tests.yaml") if (file.parent / "model").is_dir()]


@pytest.mark.parametrize("name", WITH_MODEL)
def test_fixtures_pass(name: str) -> None:
    done = hazardstream("pipeline", "test", name, "--model", "bundled")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


def test_the_flagship_has_fixtures() -> None:
    assert PIPELINE.name in WITH_MODEL
