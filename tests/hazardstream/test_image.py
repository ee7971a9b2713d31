"""The image is built from exactly the packages that the wheel contains."""

import tomllib

from tests.repository import ROOT


def test_every_package_of_the_wheel_gets_into_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert packages <= {line.removeprefix("!") for line in lines if line.startswith("!")}
