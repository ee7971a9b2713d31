from pathlib import Path

import pytest

from tests.flagship import SHIPPED_MODEL


@pytest.fixture(scope="session")
def model_package() -> Path:
    """The champion: it has the features of a candidate, as otherwise the two are not compared."""
    return SHIPPED_MODEL
