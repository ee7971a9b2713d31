"""Model packages from MLflow's registry and runs; and the cache that outlives MLflow.

    CACHE/models/STORE/resolved/URI.json       what a URI last stood for, and before that, once it had passed the check
    CACHE/models/STORE/packages/NAME/VERSION/  packages, each complete: downloaded elsewhere, checked, then renamed

STORE is a digest of the tracking URI: version 1 here is not version 1 there.
"""

import hashlib
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import DependencyDownError
from worker.admission.admit import Demands, admit
from worker.config.settings import ARTIFACT_PATH
from worker.model.mlflow_client import (
    DIGEST_TAG,
    NotInMlflowError,
    mlflow_client,
    require_answer,
    store_file,
    tracking_uri_or_default,
)
from worker.model.mlflow_download import download, require_no_page, storage_fault
from worker.model.package import ModelPackage
from worker.model.package_files import Contents, Fault, PackageError, read_package
from worker.model.uri import ParsedUri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CACHE = "model cache"
_LOG = structlog.get_logger(__name__)
_REMEMBERED = 5  # versions before the last, to go back to


class RefusedModelError(PackageError):
    """What a URI stands for must not be used.

    Attributes:
        version: what is refused; empty where there is nothing.
    """

    def __init__(self, fault: Fault, version: str, words: str) -> None:
        super().__init__(fault, words)
        self.version = version


class Found(BaseModel):
    """What a URI stands for: the version stamped on predictions, its place in the cache, and its manifest's digest."""

    model_config = ConfigDict(frozen=True)

    version: str
    folder: str
    digest: str | None
    artifacts: str


class Remembered(Found):
    """What a URI last stood for; and before that, newest first."""

    before: tuple[Found, ...] = ()


class MlflowSource:
    """What one URI stands for, now and when all was last well.

    Args:
        parsed: the URI.
        cache: fetched packages are kept in `models` below it.
        tracking_uri: MLflow's address; else MLFLOW_TRACKING_URI, else the user's own local store.
        demands: see `resolve`.
    """

    def __init__(self, parsed: ParsedUri, cache: Path, tracking_uri: str | None, demands: Demands) -> None:
        self._uri, self._cache, self._demands = parsed, cache, demands
        self._store = tracking_uri_or_default(tracking_uri)
        self._home = cache / "models" / hashlib.sha256(self._store.encode()).hexdigest()[:12]
        self._memory = self._home / "resolved" / f"{quote(parsed.uri, safe='')}.json"

    @property
    def moves(self) -> bool:
        """Whether the URI may stand for something else tomorrow."""
        return self._uri.kind in {"alias", "stage"}

    def look_up(self) -> Found:
        """Ask MLflow what the URI stands for now.

        Raises:
            RefusedModelError: for nothing.
            DependencyDownError: MLflow does not answer.
        """
        uri, store = self._uri, self._store
        advice = "run `hazardstream model register` or `hazardstream train`, or correct the URI or MLFLOW_TRACKING_URI"
        file = store_file(store)
        if file is not None and not file.exists():  # a client would create it, and still have no model
            raise RefusedModelError("not_there", "", f"there is no {uri.uri}: no MLflow store in {file}; {advice}")
        try:
            with mlflow_client(store) as client:
                if uri.kind == "run":
                    run = client.get_run(uri.name)
                    require_answer(store, run.info.run_id == uri.name, f"run {run.info.run_id!r}")
                    folder = f"runs/{quote(uri.name, safe='')}/{quote(uri.which, safe='')}"
                    registered = run.data.tags.get(DIGEST_TAG) if uri.which == ARTIFACT_PATH else None
                    return Found(version=f"run:{uri.name}", folder=folder, digest=registered, artifacts=uri.uri)
                version = _version(client, uri)
                number = str(version.version)
                require_answer(store, version.name == uri.name and number.isdecimal(), f"version {number!r}")
                artifacts = client.get_model_version_download_uri(uri.name, number)
                require_answer(store, bool(artifacts), "an empty address of the model's files")
                return Found(
                    version=number,
                    folder=f"packages/{quote(uri.name, safe='')}/{number}",
                    digest=version.tags.get(DIGEST_TAG),
                    artifacts=artifacts,
                )
        except NotInMlflowError as error:
            raise RefusedModelError("not_there", "", f"there is no {uri.uri}: {error}; {advice}") from error

    def fetch(self, found: Found) -> ModelPackage:
        """Load what was found, from the cache if it is there and sound; check it; and remember it as good.

        Raises:
            RefusedModelError: it must not be used.
            DependencyDownError: MLflow does not answer, or the cache cannot be written.
        """
        try:
            package = self._cached(found) or self._downloaded(found)
        except (NotInMlflowError, PackageError) as error:
            fault: Fault = error.fault if isinstance(error, PackageError) else "missing_file"
            raise RefusedModelError(
                fault,
                found.version,
                f"{self._uri.uri} (version {found.version}) must not be used: {error}; "
                "train another with `hazardstream train`, or move the alias to a sound version",
            ) from error
        self._remember(found)
        return package

    def last_good(self, reason: str) -> ModelPackage | None:
        """The package that the URI stood for when all was well, if it is still in the cache.

        Args:
            reason: why it is wanted, for the log.

        Raises:
            DependencyDownError: there was one, and it cannot be used any more.
        """
        refused: list[PackageError] = []
        try:
            remembered = self._remembered()
        except ValidationError as error:
            raise DependencyDownError(CACHE, f"{reason}; nor can the cache be used: {error}") from error
        for found in [remembered, *remembered.before] if remembered else []:
            try:
                package = self._admit(read_package(self._home / found.folder, found.digest), found)
            except PackageError as error:
                refused.append(error)
                continue
            _LOG.warning("last good model used", uri=self._uri.uri, version=found.version, reason=reason)
            return package
        if refused and refused[0].fault == "failed_in_use":
            return None
        if refused:
            raise DependencyDownError(CACHE, f"{reason}; nor can the cache be used: {refused[0]}") from refused[0]
        return None

    def _admit(self, contents: Contents, found: Found) -> ModelPackage:
        trust = self._demands.trust
        if found.digest is None and not trust.covers(contents.digest, from_registry=True):
            raise PackageError(
                "untrusted",
                f"MLflow has no digest of it (tag {DIGEST_TAG} of the version or run), so it may be anybody's; "
                "register it with `hazardstream model register`, or trust this very package with "
                f"HAZARDSTREAM_MODEL_TRUST=sha256:{contents.digest}, or all that MLflow hands out with "
                "HAZARDSTREAM_MODEL_TRUST=registry",
            )
        return admit(contents, found.version, self._demands, self._cache, from_registry=True)

    def _cached(self, found: Found) -> ModelPackage | None:
        place = self._home / found.folder
        if not place.is_dir():
            return None
        try:
            contents = read_package(place, found.digest)
        except PackageError as error:
            _LOG.warning("cached model discarded", uri=self._uri.uri, reason=str(error))
            with self._writing():
                shutil.rmtree(place)
            return None
        return self._admit(contents, found)

    def _downloaded(self, found: Found) -> ModelPackage:
        place = self._home / found.folder
        with self._writing():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self._home, prefix=".download-", ignore_cleanup_errors=True
            ) as directory:
                try:
                    fetched = download(found.artifacts, directory, self._store)
                except DependencyDownError as down:
                    if fault := storage_fault(down):
                        raise self._cache_down(fault) from down
                    raise
                try:
                    package = self._admit(read_package(fetched, found.digest), found)
                except PackageError as error:  # the directory will be gone when somebody reads of it
                    require_no_page(fetched, found.artifacts)
                    words = str(error).replace(str(fetched), found.artifacts)
                    raise PackageError(error.fault, words) from error
                try:
                    fetched.rename(place)
                except OSError:
                    if not place.is_dir():  # else another worker was faster
                        raise
        _LOG.info("model downloaded", uri=self._uri.uri, version=found.version)
        return replace(package, directory=place)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What goes wrong in writing the cache is a dependency that is down: room may be made while we wait."""
        try:
            yield
        except OSError as error:
            raise self._cache_down(str(error)) from error

    def _cache_down(self, reason: str) -> DependencyDownError:
        return DependencyDownError(
            CACHE, f"{self._home} cannot be written: {reason}; make room there, or set HAZARDSTREAM_CACHE_DIRECTORY"
        )

    def _remembered(self) -> Remembered | None:
        try:
            return Remembered.model_validate_json(self._memory.read_text())
        except OSError:
            return None

    def _remember(self, found: Found) -> None:
        known: list[Found] = []
        with suppress(ValidationError):
            if last := self._remembered():
                known = [Found.model_validate(f.model_dump(exclude={"before"})) for f in (last, *last.before)]
        if known[:1] == [found]:
            return
        before = tuple(other for other in known if other != found)[:_REMEMBERED]
        # Workers that share a cache may come here together.
        temporary = self._memory.with_suffix(f".{uuid.uuid4().hex}")
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(Remembered(**found.model_dump(), before=before).model_dump_json())
            temporary.replace(self._memory)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            _LOG.warning("model not remembered: it cannot be found again while mlflow is down", reason=str(error))


def _version(client: "MlflowClient", uri: ParsedUri) -> "ModelVersion":
    if uri.kind == "stage":
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            versions = client.get_latest_versions(uri.name, stages=[uri.which.capitalize()])
        if not versions:
            raise NotInMlflowError(f"no version of {uri.name} is in stage {uri.which}")
        return versions[0]
    if uri.kind == "alias":
        return client.get_model_version_by_alias(uri.name, uri.which)
    return client.get_model_version(uri.name, uri.which)
