"""An installation of the product with only some of its extras, made of links to what is installed here."""

from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

from tests.repository import ROOT

PACKAGE = "hazardstream"


def partial_install(directory: Path, *extras: str) -> Path:
    """Links to the source and to all that pip would install for these extras.

    Args:
        directory: gets the links.
        extras: of the product; none: the base installation.

    Returns:
        The directory, for PYTHONPATH of a Python that looks nowhere else (`python -S`).
    """
    for found in _with_requirements(PACKAGE, extras):
        for name in _top_level(found):
            if not (link := directory / name).exists():
                link.symlink_to(str(found.locate_file(name)))
    for source in ROOT.iterdir():
        if (source / "__init__.py").exists() or source.name == PACKAGE:
            (directory / source.name).symlink_to(source)
    return directory


def requirements(package: str, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a package declares for these extras and without them.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    wanted = ("", *extras)
    found = map(Requirement, distribution(package).requires or ())
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in wanted)]


def _with_requirements(package: str, extras: Iterable[str]) -> list[Distribution]:
    pending, seen, found = [(package, frozenset(extras))], set[tuple[str, frozenset[str]]](), list[Distribution]()
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            found.append(distribution(one[0]))
        except PackageNotFoundError:
            continue  # of another platform
        pending += [(r.name, frozenset(r.extras)) for r in requirements(*one)]
    return found


def _top_level(found: Distribution) -> set[str]:
    paths = (PurePosixPath(str(file)) for file in found.files or ())
    return {path.parts[0] for path in paths if path.parts[0] not in {"..", "__pycache__"}}
