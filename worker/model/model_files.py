"""The files of a model that MLflow wrote, read once: the bytes that are hashed are the bytes that are loaded."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.model.facts import NO_FACTS, Facts
from worker.model.package_files import PACKAGE_MAX_BYTES, PackageError, read_file

MLMODEL = "MLmodel"
TUNED_MODEL, TUNED_SCALER = "tuned_xgboost_model", "scaler.joblib"
"""The classical layout of a run: an XGBoost model that MLflow wrote, and beside it the scaler of its features."""
_MAX_FILES = 1000
# MLflow's client adds this file to what it downloads; Python and editors add the others.
_IGNORED = {"registered_model_meta", "__pycache__", ".DS_Store"}


@dataclass(frozen=True)
class ModelFiles:
    """All files of a model, in memory.

    Attributes:
        origin: where they were read, for messages.
        name: of the model, as predictions name it.
        files: path relative to the model's directory -> bytes.
        digest: SHA-256, in hex, of the text that `sha256sum` prints for all files in the order of their paths.
        facts: what MLflow says of the model, apart from its files.
    """

    origin: str
    name: str
    files: Mapping[str, bytes]
    digest: str
    facts: Facts = NO_FACTS

    def write(self, directory: Path) -> None:
        """Write the files into a directory.

        Raises:
            OSError: they cannot be written.
        """
        for name, content in self.files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)

    def file(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            PackageError: there is no such file.
        """
        if name not in self.files:
            raise PackageError("missing_file", f"model {self.origin}: {name} is missing; log the model again")
        return self.files[name]

    def below(self, folder: str) -> "ModelFiles":
        """The files in a folder, as a model of their own with the same digest."""
        inside = {name.removeprefix(f"{folder}/"): c for name, c in self.files.items() if name.startswith(f"{folder}/")}
        return ModelFiles(self.origin, self.name, inside, self.digest, self.facts)


def is_model(directory: Path) -> bool:
    """Whether a directory holds a model that MLflow wrote, or the classical layout of a run."""
    return (directory / MLMODEL).is_file() or (directory / TUNED_MODEL / MLMODEL).is_file()


def read_model_files(
    directory: Path, name: str, *, expected_digest: str | None = None, facts: Facts = NO_FACTS
) -> ModelFiles:
    """Read all files of a model once.

    Args:
        directory: where its MLmodel file is, or the artifacts of a run in the classical layout. Links are followed
            only within it.
        name: of the model.
        expected_digest: that the files must have; None: any.
        facts: what MLflow says of the model.

    Raises:
        PackageError: a file is too large, not a regular file or outside the directory, or the digest differs.
    """
    files: dict[str, bytes] = {}
    left = PACKAGE_MAX_BYTES
    for path in _paths(directory):
        if len(files) == _MAX_FILES:
            raise PackageError("too_large", f"model {directory} has more than {_MAX_FILES} files")
        files[path] = read_file(directory, path, left, str(directory))
        left -= len(files[path])
    lines = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files, key=os.fsencode))
    digest = hashlib.sha256(os.fsencode(lines)).hexdigest()
    if expected_digest not in {None, digest}:
        raise PackageError(
            "digest_mismatch", f"model {directory}: its files differ from those that were registered (digest mismatch)"
        )
    return ModelFiles(str(directory), name, files, digest, facts)


def _paths(directory: Path) -> Iterator[str]:
    classical = not (directory / MLMODEL).is_file()
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for name in sorted(names):
            path = (Path(folder) / name).relative_to(directory)
            # A run has other artifacts as well.
            if name not in _IGNORED and not (classical and path.parts[0] not in {TUNED_MODEL, TUNED_SCALER}):
                yield str(path)
