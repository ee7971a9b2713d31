"""The extras of the package: what a command needs beyond the base installation."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires

from packaging.requirements import Requirement

from common.errors import UserError

_PACKAGE = "hazardstream"


def require_extras(*names: str) -> None:
    """Check that what these extras bring is installed.

    Args:
        names: of extras, as in pyproject.toml.

    Raises:
        UserError: something is missing. The text has the command that installs it.
    """
    if missing := [requirement.name for requirement in _requirements(names) if not _installed(requirement)]:
        raise UserError(
            f"this needs packages that are not installed: {', '.join(dict.fromkeys(missing))}; install them with: "
            f"pip install '{_PACKAGE}[{','.join(names)}]'"
        )


def _requirements(extras: tuple[str, ...]) -> Iterator[Requirement]:
    for requirement in map(Requirement, requires(_PACKAGE) or ()):
        if requirement.marker and any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _installed(requirement: Requirement) -> bool:
    try:
        distribution(requirement.name)
    except PackageNotFoundError:
        return False
    return True
