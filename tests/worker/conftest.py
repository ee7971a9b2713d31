from pathlib import Path

import pytest
from harness import Stage, make_stage


@pytest.fixture
def stage(kafka: str, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    """Topics of this test's own on the real broker, and what is needed to run workers on them."""
    return make_stage(kafka, topic_prefix, tmp_path, model_package)
