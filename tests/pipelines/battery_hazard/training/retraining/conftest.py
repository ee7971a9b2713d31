from pathlib import Path

import pytest

from tests.flagship import SHIPPED_MODEL


@pytest.fixture
def champion() -> Path:
    """Its package. It has the features of a candidate, as otherwise the two are not compared."""
    return SHIPPED_MODEL
