"""Where a model package comes from: MLflow's registry, a run, or a directory; and the cache that outlives MLflow.

    CACHE/models/STORE/resolved/URI.json       what a URI last stood for, remembered once it had proved sound
    CACHE/models/STORE/packages/NAME/VERSION/  packages, each complete: downloaded elsewhere, proved, then renamed

STORE is a digest of the tracking URI: version 1 here is not version 1 there.
"""

import hashlib
import re
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

import structlog
from pydantic import BaseModel, ValidationError

from worker.errors import DependencyDownError, UserError
from worker.package import MANIFEST, ModelPackage, PackageError, digest, load_package
from worker.tracking import (
    DIGEST_TAG,
    NotInMlflowError,
    mlflow_client,
    store_file,
    tracking_uri_or_default,
)

_LOG = structlog.get_logger(__name__)
_FORMS = "write models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH or the path of a directory"
_PATTERNS = {
    "alias": re.compile(r"models:/(?P<name>[^/@]+)@(?P<which>[^/@]+)"),
    "version": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>\d+)"),
    "run": re.compile(r"runs:/(?P<name>[^/]+)/(?P<which>.+)"),
}


class _Found(BaseModel):
    """What a URI stands for: the version stamped on predictions, its place in the cache, and its manifest's digest."""

    version: str
    folder: str
    digest: str | None
    artifacts: str


class _Source(NamedTuple):
    """A parsed URI: `name` and `which` are model and alias, model and version, or run and path."""

    uri: str
    kind: Literal["alias", "version", "run"]
    name: str
    which: str


def resolve(uri: str, *, cache_directory: Path, tracking_uri: str | None = None) -> ModelPackage:
    """Find, fetch, verify and load a model package.

    While MLflow is down, the package that the URI last stood for is taken from the cache.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/PATH` or a directory.
        cache_directory: fetched packages are kept in `models` below it.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

    Returns:
        The package. Its version is the registry's, `run:ID`, or `sha256:` and the beginning of the manifest's digest.

    Raises:
        UserError: the URI is of no known form, stands for nothing, or for a package that must not be used.
        DependencyDownError: MLflow does not answer, and the cache has nothing for this URI; worth another try.
    """
    if not uri.startswith(("models:", "runs:")):
        return _from_directory(Path(uri))
    source = _parse(uri)
    store = tracking_uri_or_default(tracking_uri)
    home = cache_directory / "models" / hashlib.sha256(store.encode()).hexdigest()[:12]
    memory = home / "resolved" / f"{quote(uri, safe='')}.json"
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the model cache cannot be written: {error}; set HAZARDSTREAM_CACHE_DIRECTORY") from error
    try:
        found = _look_up(source, store)
        package = _fetch(source, found, home, store)
    except DependencyDownError as down:
        return _last_good(source, memory, home, down)
    # Workers that share a cache may come here together.
    temporary = memory.with_suffix(f".{uuid.uuid4().hex}")
    temporary.write_text(found.model_dump_json())
    temporary.replace(memory)
    return package


def _from_directory(directory: Path) -> ModelPackage:
    if not (directory / MANIFEST).is_file():
        raise UserError(
            f"no model package in {directory}; make one with `hazardstream train --output DIR`, or {_FORMS}"
        )
    try:
        return load_package(directory, version=f"sha256:{digest(directory / MANIFEST)[:12]}")
    except PackageError as error:
        raise UserError(f"{error}; make it anew with `hazardstream train --output DIR`") from error


def _parse(uri: str) -> _Source:
    for kind, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(uri):
            return _Source(uri, kind, match["name"], match["which"])  # type: ignore[arg-type]  # keys are the literals
    raise UserError(f"model {uri!r} is of no known form: {_FORMS}")


def _look_up(source: _Source, store: str) -> _Found:
    """Ask MLflow what the URI stands for now."""
    advice = "train one with `hazardstream train`, or correct the model's URI or MLFLOW_TRACKING_URI"
    file = store_file(store)
    if file is not None and not file.exists():  # a client would create it, and still have no model
        raise UserError(f"there is no {source.uri}: no MLflow store in {file}; {advice}")
    try:
        with mlflow_client(store) as client:
            if source.kind == "run":
                client.get_run(source.name)
                folder = f"runs/{quote(source.name, safe='')}/{quote(source.which, safe='')}"
                return _Found(version=f"run:{source.name}", folder=folder, digest=None, artifacts=source.uri)
            by_alias = source.kind == "alias"
            find = client.get_model_version_by_alias if by_alias else client.get_model_version
            version = find(source.name, source.which)
            return _Found(
                version=str(version.version),
                folder=f"packages/{quote(source.name, safe='')}/{version.version}",
                digest=version.tags.get(DIGEST_TAG),
                artifacts=client.get_model_version_download_uri(source.name, version.version),
            )
    except NotInMlflowError as error:
        raise UserError(f"there is no {source.uri}: {error}; {advice}") from error


def _fetch(source: _Source, found: _Found, home: Path, store: str) -> ModelPackage:
    """Load from the cache if it is there and sound, else download, prove and keep."""
    place = home / found.folder
    if place.is_dir():
        try:
            return load_package(place, version=found.version, expected_digest=found.digest)
        except PackageError as error:
            _LOG.warning("cached model discarded", uri=source.uri, reason=str(error))
            shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".download-") as directory:
        try:
            with mlflow_client(store):
                from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - see mlflow_client

                fetched = download_artifacts(artifact_uri=found.artifacts, dst_path=directory, tracking_uri=store)
            package = load_package(Path(fetched), version=found.version, expected_digest=found.digest)
        except (NotInMlflowError, PackageError) as error:
            raise UserError(
                f"{source.uri} (version {found.version}) must not be used: {error}; "
                "train another with `hazardstream train`, or move the alias to a sound version"
            ) from error
        try:
            Path(fetched).rename(place)
        except OSError:
            if not place.is_dir():  # else another worker was faster
                raise
    _LOG.info("model downloaded", uri=source.uri, version=found.version)
    return package


def _last_good(source: _Source, memory: Path, home: Path, down: DependencyDownError) -> ModelPackage:
    """The package that the URI stood for when MLflow last answered; or MLflow's failure, if there is none."""
    try:
        found = _Found.model_validate_json(memory.read_text())
        package = load_package(home / found.folder, version=found.version, expected_digest=found.digest)
    except FileNotFoundError:
        raise down from None
    except (ValidationError, PackageError) as error:
        raise DependencyDownError(down.dependency, f"{down.reason}; nor can the cache be used: {error}") from down
    _LOG.warning("mlflow is down: cached model", uri=source.uri, version=found.version, reason=down.reason)
    return package
