"""The formats of a model: a package, or what MLflow wrote. Files are read once, then loaded from memory."""

from pathlib import Path

from worker.model.backends.load import load_plain_model
from worker.model.contract import Model, Task
from worker.model.facts import NO_FACTS, Facts
from worker.model.model_files import ModelFiles, is_model, read_model_files
from worker.model.package import ModelPackage, open_package
from worker.model.package_files import MANIFEST, Contents, PackageError, read_package

AnyFiles = Contents | ModelFiles


def holds_model(directory: Path) -> bool:
    """Whether there is a model of any format in a directory."""
    return (directory / MANIFEST).is_file() or is_model(directory)


def read_model(directory: Path, name: str, *, expected_digest: str | None = None, facts: Facts = NO_FACTS) -> AnyFiles:
    """Read the files of a model.

    Args:
        directory: that has them.
        name: of the model, if its files do not say it.
        expected_digest: that MLflow has of it; None: none.
        facts: what MLflow says of it.

    Raises:
        PackageError: a file is missing, altered, too large, or outside the directory.
    """
    if is_model(directory) and not (directory / MANIFEST).is_file():
        return read_model_files(directory, name, expected_digest=expected_digest, facts=facts)
    return read_package(directory, expected_digest)


def open_model(files: AnyFiles, *, version: str, trusted: bool = False, task: Task | None = None) -> Model:
    """Load a model.

    Args:
        files: of the model.
        version: as predictions will name it.
        trusted: whether code of the model's author may run.
        task: that the pipeline demands; None: any.

    Raises:
        PackageError: it must not be used.
    """
    if isinstance(files, Contents):
        return open_package(files, version=version, trusted=trusted)
    return load_plain_model(files, version=version, trusted=trusted, task=task)


def require_package(model: Model, purpose: str) -> ModelPackage:
    """The model, if it is a hazardstream package.

    Args:
        model: of any format.
        purpose: what needs a package, for the message.

    Raises:
        PackageError: it is not.
    """
    if not isinstance(model, ModelPackage):
        raise PackageError(
            "unknown_format",
            f"{purpose} needs a hazardstream package (with {MANIFEST}), and {model.name} {model.version} is a plain "
            "MLflow model; see docs/model-life.md",
        )
    return model
