"""What tests simulate for a long time and is the same in each run: kept until the code that makes it changes."""

import hashlib
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from tests.repository import ROOT

T = TypeVar("T")
_HOME = ROOT / ".pytest_cache" / "kept"
_SOURCES = ("common", "pipelines", "producers", "schemas", "worker")


def kept_directory(name: str, fill: Callable[[Path], object]) -> Path:
    """A directory that is filled by the first run that asks for it. It is shared: only read it."""
    directory = _HOME / _digest_of_the_code() / name
    with FileLock(_HOME / f"{name}.lock"):
        if not directory.exists():
            _HOME.joinpath("README").write_text(__doc__)
            for outdated in _HOME.glob(f"*/{name}"):
                shutil.rmtree(outdated)
            unfinished = directory.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            fill(unfinished)
            unfinished.rename(directory)
    return directory


def kept(name: str, make: Callable[[], T]) -> T:
    """A value that is made by the first run that asks for it."""

    def fill(directory: Path) -> None:
        (directory / "value").write_bytes(pickle.dumps(make()))

    value: T = pickle.loads((kept_directory(name, fill) / "value").read_bytes())  # noqa: S301 - of our own making
    return value


@cache
def _digest_of_the_code() -> str:
    files = [ROOT / "requirements.lock"]
    for folder in _SOURCES:
        files += sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".avsc", ".yaml"})
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
