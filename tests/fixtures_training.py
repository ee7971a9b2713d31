from pathlib import Path

import pytest

from worker.model.package import ModelPackage, load_package


@pytest.fixture(scope="session")
def package(model_package: Path) -> ModelPackage:
    return load_package(model_package, version="1")
