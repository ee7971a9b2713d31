"""Where a model package comes from: MLflow's registry, a run, or a directory; and the cache that outlives MLflow.

    CACHE/models/STORE/resolved/URI.json       what a URI last stood for, remembered once it had proved sound
    CACHE/models/STORE/packages/NAME/VERSION/  packages, each complete: downloaded elsewhere, proved, then renamed

STORE is a digest of the tracking URI: version 1 here is not version 1 there.
"""

import errno
import hashlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    shown,
    store_file,
    tracking_uri_or_default,
)

CACHE = "model cache"
_LOG = structlog.get_logger(__name__)
_FORMS = "write models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH or the path of a directory"
_PATTERNS = {
    "alias": re.compile(r"models:/(?P<name>[^/@]+)@(?P<which>[^/@]+)"),
    "version": re.compile(r"models:/(?P<name>[^/@]+)/(?P<which>\d+)"),
    "run": re.compile(r"runs:/(?P<name>[^/]+)/(?P<which>.+)"),
}
# MLflow keeps no more of what went wrong with a file than the text.
_STORAGE_FAULT = re.compile(
    "|".join(
        rf"\[Errno {number}\][^:\n]*"
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
    )
)


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

    While MLflow is down, or the cache takes no new package, the one that the URI last stood for is used.

    Args:
        uri: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `runs:/ID/PATH` or a directory.
        cache_directory: fetched packages are kept in `models` below it.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.

    Returns:
        The package. Its version is the registry's, `run:ID`, or `sha256:` and the beginning of the manifest's digest.

    Raises:
        UserError: the URI is of no known form, stands for nothing, or for a package that must not be used.
        DependencyDownError: MLflow does not answer, or the cache cannot be written, and the cache has nothing for this
            URI; worth another try.
    """
    if not uri.startswith(("models:", "runs:")):
        return _from_directory(Path(uri))
    source = _parse(uri)
    store = tracking_uri_or_default(tracking_uri)
    home = cache_directory / "models" / hashlib.sha256(store.encode()).hexdigest()[:12]
    memory = home / "resolved" / f"{quote(uri, safe='')}.json"
    try:
        with _writing(home):
            memory.parent.mkdir(parents=True, exist_ok=True)
            found = _look_up(source, store)
            package = _fetch(source, found, home, store)
    except DependencyDownError as down:
        return _last_good(source, memory, home, down)
    _remember(found, memory)
    return package


@contextmanager
def _writing(home: Path) -> Iterator[None]:
    """What goes wrong in writing the cache is a dependency that is down: room may be made while we wait."""
    try:
        yield
    except OSError as error:
        raise _cache_down(home, str(error)) from error


def _cache_down(home: Path, reason: str) -> DependencyDownError:
    return DependencyDownError(
        CACHE, f"{home} cannot be written: {reason}; make room there, or set HAZARDSTREAM_CACHE_DIRECTORY"
    )


def _remember(found: _Found, memory: Path) -> None:
    # Workers that share a cache may come here together.
    temporary = memory.with_suffix(f".{uuid.uuid4().hex}")
    try:
        temporary.write_text(found.model_dump_json())
        temporary.replace(memory)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        _LOG.warning("model not remembered: it cannot be found again while mlflow is down", reason=str(error))


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
    with tempfile.TemporaryDirectory(dir=home, prefix=".download-", ignore_cleanup_errors=True) as directory:
        try:
            fetched = _download(found.artifacts, directory, store)
            package = load_package(fetched, version=found.version, expected_digest=found.digest)
        except (NotInMlflowError, PackageError) as error:
            raise UserError(
                f"{source.uri} (version {found.version}) must not be used: {error}; "
                "train another with `hazardstream train`, or move the alias to a sound version"
            ) from error
        except DependencyDownError as down:
            if fault := _STORAGE_FAULT.search(str(down.__cause__)):
                raise _cache_down(home, fault[0]) from down
            raise
        try:
            fetched.rename(place)
        except OSError:
            if not place.is_dir():  # else another worker was faster
                raise
    _LOG.info("model downloaded", uri=source.uri, version=found.version)
    return package


def _download(artifacts: str, directory: str, store: str) -> Path:
    with mlflow_client(store) as client:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - see mlflow_client

        if run := _PATTERNS["run"].fullmatch(artifacts):
            # Asked for by run, MLflow says of any failure that there is nothing at that path.
            if not client.list_artifacts(run["name"], run["which"]):
                raise NotInMlflowError(f"MLflow at {shown(store)}: run {run['name']} has no files at {run['which']}")
            artifacts = f"{client.get_run(run['name']).info.artifact_uri}/{run['which']}"
        return Path(download_artifacts(artifact_uri=artifacts, dst_path=directory, tracking_uri=store))


def _last_good(source: _Source, memory: Path, home: Path, down: DependencyDownError) -> ModelPackage:
    """The package that the URI stood for when all was well; or what is down now, if there is none."""
    try:
        found = _Found.model_validate_json(memory.read_text())
        package = load_package(home / found.folder, version=found.version, expected_digest=found.digest)
    except OSError:
        raise down from None
    except (ValidationError, PackageError) as error:
        raise DependencyDownError(down.dependency, f"{down.reason}; nor can the cache be used: {error}") from down
    _LOG.warning(
        "last good model used", uri=source.uri, version=found.version, down=down.dependency, reason=down.reason
    )
    return package
