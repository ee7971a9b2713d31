"""Where a model package comes from: MLflow's registry, a run, a directory or an exported file."""

from contextlib import suppress
from pathlib import Path

from common.errors import DependencyDownError, UserError
from worker.admission.admit import Demands, admit
from worker.admission.mlflow_source import MlflowSource, RefusedModelError
from worker.model.archive import read_archive
from worker.model.mlflow_client import NotAllowedError
from worker.model.package import ModelPackage
from worker.model.package_files import MANIFEST, PackageError, read_package
from worker.model.uri import parse

_NOTHING_MORE = Demands()
_FORMS = (
    "write models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/Production, runs:/ID/PATH or the path of a "
    "directory or of an exported file"
)


def resolve(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> ModelPackage:
    """Find, fetch, verify and load a model package.

    While MLflow is down or refuses, or the cache takes no new package, the one that the URI last stood for is used.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/NAME/STAGE`, `runs:/ID/PATH`, a directory, or a file
            made by `hazardstream model export`.
        cache_directory: fetched packages are kept in `models` below it.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.
        demands: what the package has to meet beyond being sound in itself.

    Returns:
        The package. Its version is the registry's, `run:ID`, or `sha256:` and the beginning of the manifest's digest.

    Raises:
        RefusedModelError: the URI stands for nothing, or for a package that must not be used.
        UserError: it is of no known form.
        DependencyDownError: MLflow does not answer, or the cache cannot be written, and the cache has nothing for this
            URI; worth another try.
    """
    source = mlflow_source(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
    if source is None:
        return _from_path(Path(uri), cache_directory, demands)
    try:
        return source.fetch(source.look_up())
    except (DependencyDownError, NotAllowedError) as down:
        package = source.last_good(str(down))
        if package is None:
            raise
        return package


def resolve_or_last_good(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> ModelPackage:
    """As `resolve`; but where an alias has come to stand for what must not be used, what it last stood for goes on.

    A model that failed while it scored, with no other one to go back to, is a dependency that is down.
    """
    try:
        return resolve(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
    except RefusedModelError as refused:
        source = mlflow_source(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
        with suppress(DependencyDownError):  # that the cache is damaged, too, is not what to tell first
            if source is not None and source.moves and (package := source.last_good(str(refused))):
                return package
        if refused.fault == "failed_in_use":  # not a mistake at the start: another version may come
            raise DependencyDownError("model", str(refused)) from refused
        raise


def mlflow_source(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> MlflowSource | None:
    """The part of MLflow that a URI names; None for a path.

    Raises:
        UserError: the URI is of no known form.
    """
    if not uri.startswith(("models:", "runs:")):
        return None
    parsed = parse(uri)
    if parsed is None:
        raise UserError(f"model {uri!r} is of no known form: {_FORMS}")
    return MlflowSource(parsed, cache_directory, tracking_uri, demands)


def _from_path(path: Path, cache_directory: Path, demands: Demands) -> ModelPackage:
    try:
        if path.is_file():
            contents, metadata, _ = read_archive(path)
            package = admit(contents, metadata.version, demands, cache_directory)
        elif (path / MANIFEST).is_file():
            contents = read_package(path)
            package = admit(contents, f"sha256:{contents.digest[:12]}", demands, cache_directory)
        else:
            raise UserError(f"no model package in {path}; make one with `hazardstream train --output DIR`, or {_FORMS}")
    except PackageError as error:
        advice = "copy or export it again" if path.is_file() else "make it anew with `hazardstream train --output DIR`"
        raise RefusedModelError(error.fault, str(path), f"{error}; {advice}") from error
    return package
