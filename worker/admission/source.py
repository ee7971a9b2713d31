"""Finds a model by its URI: in MLflow's registry, a run, S3, a directory or an exported file."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.errors import DependencyDownError, UserError
from common.text import shown
from worker.admission.admit import Demands, admit, demands_of
from worker.admission.mlflow_source import MlflowSource, RefusedModelError
from worker.admission.remedies import with_remedy
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings
from worker.model.archive import read_archive
from worker.model.contract import Model
from worker.model.formats import holds_model, read_model
from worker.model.mlflow_client import NotAllowedError
from worker.model.package_files import PackageError
from worker.model.uri import parse

BUNDLED = "bundled"
_NOTHING_MORE = Demands()
_FORMS = (
    "write models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/Production, models:/NAME/latest, models:/m-ID, "
    "runs:/ID/PATH, s3://BUCKET/PATH, file:///PATH, `bundled`, or the path of a directory or of a file made by "
    "`hazardstream model export`"
)


def resolve(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> Model:
    """Find, fetch, verify and load a model.

    If MLflow is down or denies access, or the cache cannot be written, the model last used for this URI is taken.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/NAME/STAGE`, `models:/NAME/latest`, `models:/m-ID`,
            `runs:/ID/PATH`, `s3://BUCKET/PATH`, `file:///PATH`, `bundled` (in the pipeline's folder), a directory, or
            a file made by `hazardstream model export`.
        cache_directory: keeps downloaded models in `models`.
        tracking_uri: MLflow's address; None: MLFLOW_TRACKING_URI, or else the user's local store.
        demands: that the model has to meet.

    Returns:
        The model. Its version is the registry's, `run:ID`, `m-ID`, or `sha256:` and the start of its digest.

    Raises:
        RefusedModelError: there is no such model, or it must not be used.
        UserError: the URI has no known form.
        DependencyDownError: MLflow does not answer or the cache cannot be written, and the cache holds no model for
            this URI; try again later.
    """
    source = mlflow_source(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
    if source is None:
        path, name = _path(uri, demands)
        return _from_path(path, name, cache_directory, demands)
    try:
        return source.fetch(source.look_up())
    except (DependencyDownError, NotAllowedError) as down:
        package = source.last_good(str(down))
        if package is None:
            raise
        return package


def resolve_by_settings(settings: Settings, uri: str, pipeline: Pipeline | None = None) -> Model:
    """As `resolve`, with the cache, the MLflow and the demands of these settings.

    Args:
        settings: of the process.
        uri: as for `resolve`.
        pipeline: whose records the model will score; None: it will not score here.
    """
    if uri == BUNDLED and pipeline is None:
        pipeline = load_pipeline(settings.pipeline)
    return resolve(
        uri,
        cache_directory=settings.cache_directory,
        tracking_uri=settings.tracking_uri,
        demands=demands_of(settings, pipeline),
    )


def resolve_or_last_good(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> Model:
    """As `resolve`, but if an alias was moved to a model that must not be used, the last good one is taken.

    If a model failed while it scored and there is no other one, it raises DependencyDownError: another may come.
    """
    try:
        return resolve(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
    except RefusedModelError as refused:
        source = mlflow_source(uri, cache_directory=cache_directory, tracking_uri=tracking_uri, demands=demands)
        with suppress(DependencyDownError):  # a damaged cache is less important than the refusal
            if source is not None and source.moves and (package := source.last_good(str(refused))):
                return package
        if refused.fault == "failed_in_use":  # wait, because another version may come
            raise DependencyDownError("model", str(refused)) from refused
        raise


def mlflow_source(
    uri: str, *, cache_directory: Path, tracking_uri: str | None = None, demands: Demands = _NOTHING_MORE
) -> MlflowSource | None:
    """The model in MLflow that a URI names; None for a path.

    Raises:
        UserError: the URI has no known form.
    """
    if not uri.startswith(("models:", "runs:", "s3:")):
        return None
    parsed = parse(uri)
    if parsed is None:
        raise UserError(f"model {uri!r} has no known form: {_FORMS}")
    return MlflowSource(parsed, cache_directory, tracking_uri, demands)


def _path(uri: str, demands: Demands) -> tuple[Path, str]:
    """Where a model is that needs no download, and its name, if its files do not say it."""
    if uri == BUNDLED:
        if demands.pipeline is None:
            raise UserError(f"model {uri!r} is in a pipeline's folder; say --pipeline")
        return demands.pipeline.shipped_model, demands.pipeline.name
    parts = urlsplit(uri)
    if "://" in uri and parts.scheme != "file":
        raise UserError(f"model {uri!r} has no known form: {_FORMS}")
    path = Path(unquote(parts.path) if parts.scheme == "file" else uri)
    return path, path.resolve().name


def _instead(path: Path) -> str:
    if deeper := [found for found in sorted(path.iterdir()) if found.is_dir() and holds_model(found)]:
        return f"did you mean {', '.join(map(shown, deeper[:3]))}?"
    return f"write a package with `hazardstream train --output DIR`, or a model with MLflow's `save_model`, or {_FORMS}"


def _from_path(path: Path, name: str, cache_directory: Path, demands: Demands) -> Model:
    try:
        if path.is_file():
            contents, metadata, _ = read_archive(path)
            package = admit(contents, metadata.version, demands, cache_directory)
        elif holds_model(path):
            files = read_model(path, name)
            package = admit(files, f"sha256:{files.digest[:12]}", demands, cache_directory)
        elif not path.exists():
            raise UserError(f"no model in {path}: there is no such file or directory; {_FORMS}")
        else:
            raise UserError(f"no model in {path}: it has neither manifest.json nor MLmodel; {_instead(path)}")
    except PackageError as error:
        text = with_remedy(error)
        named = text if str(path) in text else f"{path}: {text}"
        raise RefusedModelError(error.fault, str(path), named) from error
    return package
