"""Models from MLflow's registry and runs, and from S3, and the cache that is used while these are down.

    CACHE/models/STORE/resolved/URI.json       the versions that a URI named and that passed the check, newest first
    CACHE/models/STORE/packages/NAME/VERSION/  complete models: downloaded elsewhere, checked, then renamed

STORE is a digest of the tracking URI, because different stores may have the same version numbers.
"""

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import structlog
from pydantic import ValidationError

from common.errors import DependencyDownError
from worker.admission.admit import Demands, admit
from worker.admission.remedies import with_remedy
from worker.admission.versions import ResolvedVersion, version_in
from worker.model.contract import Model
from worker.model.facts import Facts
from worker.model.formats import AnyFiles, read_model
from worker.model.mlflow_client import DIGEST_TAG, NotInMlflowError, store_file, tracking_uri_or_default
from worker.model.mlflow_download import (
    download,
    download_classical,
    download_location,
    require_no_page,
    storage_fault,
)
from worker.model.package_files import Contents, Fault, PackageError
from worker.model.uri import ParsedUri

CACHE = "model cache"
_LOG = structlog.get_logger(__name__)
_REMEMBERED = 5  # earlier versions, to fall back to


class RefusedModelError(PackageError):
    """The model that a URI names must not be used, or does not exist.

    Attributes:
        version: that is refused; empty if there is none.
    """

    def __init__(self, fault: Fault, version: str, text: str) -> None:
        super().__init__(fault, text)
        self.version = version


class Remembered(ResolvedVersion):
    """The last version that a URI named and that passed the check, and earlier ones, newest first."""

    before: tuple[ResolvedVersion, ...] = ()


class MlflowSource:
    """The versions that one URI names, now and when it last passed the check.

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
        self._facts = dict[str, Facts]()
        self._memory = self._home / "resolved" / f"{quote(parsed.uri, safe='')}.json"

    @property
    def moves(self) -> bool:
        """Whether the URI may name another version later."""
        return self._uri.kind in {"alias", "stage", "latest"}

    def look_up(self) -> ResolvedVersion:
        """Ask MLflow which version the URI names now.

        Raises:
            RefusedModelError: there is none.
            DependencyDownError: MLflow does not answer.
        """
        uri, store = self._uri, self._store
        if uri.kind == "location":  # its files say the version
            folder = f"locations/{hashlib.sha256(uri.uri.encode()).hexdigest()[:16]}"
            name = uri.which.rstrip("/").rpartition("/")[2]
            return ResolvedVersion(version="", folder=folder, digest=None, artifacts=uri.uri, name=name)
        advice = "register a model (`hazardstream model register`), or correct the URI or MLFLOW_TRACKING_URI"
        file = store_file(store)
        if file is not None and not file.exists():  # a client would create an empty one
            raise RefusedModelError("not_there", "", f"there is no {uri.uri}: no MLflow store in {file}; {advice}")
        try:
            found = version_in(store, uri, self._facts)
        except NotInMlflowError as error:
            raise RefusedModelError("not_there", "", f"there is no {uri.uri}: {error}; {advice}") from error
        self._facts = {found.folder: found.facts}
        return found

    def fetch(self, found: ResolvedVersion) -> Model:
        """Load this version, from the cache or else from MLflow, check it, and remember that it is good.

        Raises:
            RefusedModelError: it must not be used.
            DependencyDownError: MLflow does not answer, or the cache cannot be written.
        """
        try:
            model = self._cached(found) or self._downloaded(found)
        except (NotInMlflowError, PackageError) as error:
            known = error if isinstance(error, PackageError) else PackageError("missing_file", str(error))
            other = "; or move the alias to a good version" if self._uri.kind == "alias" else ""
            raise RefusedModelError(
                known.fault,
                found.version,
                f"{self._uri.uri} (version {found.version}) must not be used: {with_remedy(known)}{other}",
            ) from error
        self._remember(found)
        return model

    def last_good(self, reason: str) -> Model | None:
        """The newest package that passed the check under this URI, from the cache; None: there is none.

        Args:
            reason: why it is needed, for the log.

        Raises:
            DependencyDownError: the cache has one that cannot be used.
        """
        refused: list[PackageError] = []
        try:
            remembered = self._remembered()
        except ValidationError as error:
            raise DependencyDownError(CACHE, f"{reason}; and the cache cannot be used: {error}") from error
        for found in [remembered, *remembered.before] if remembered else []:
            try:
                model = self._admit(self._read(self._home / found.folder, found), found)
            except PackageError as error:
                refused.append(error)
                continue
            _LOG.warning("last good model used", uri=self._uri.uri, version=model.version, reason=reason)
            return model
        if refused and refused[0].fault == "failed_in_use":
            return None
        if refused:
            raise DependencyDownError(CACHE, f"{reason}; and the cache cannot be used: {refused[0]}") from refused[0]
        return None

    def _read(self, directory: Path, found: ResolvedVersion) -> AnyFiles:
        return read_model(directory, found.name, expected_digest=found.digest, facts=found.facts)

    def _admit(self, contents: AnyFiles, found: ResolvedVersion) -> Model:
        trust = self._demands.trust
        if (
            isinstance(contents, Contents)
            and found.digest is None
            and not trust.covers(contents.digest, from_registry=True)
        ):
            raise PackageError(
                "untrusted",
                f"MLflow has no digest for it (tag {DIGEST_TAG} of the version or run), so anyone may have written it; "
                "register it with `hazardstream model register`, or trust this package with "
                f"HAZARDSTREAM_MODEL_TRUST=sha256:{contents.digest}, or every package in MLflow with "
                "HAZARDSTREAM_MODEL_TRUST=registry",
            )
        version = found.version or f"sha256:{contents.digest[:12]}"
        return admit(contents, version, self._demands, self._cache, from_registry=self._uri.kind != "location")

    def _cached(self, found: ResolvedVersion) -> Model | None:
        place = self._home / found.folder
        if not place.is_dir() or not found.version:  # other files may be in a location now
            return None
        try:
            contents = self._read(place, found)
        except PackageError as error:
            _LOG.warning("cached model discarded", uri=self._uri.uri, reason=str(error))
            with self._writing():
                shutil.rmtree(place)
            return None
        return self._admit(contents, found)

    def _downloaded(self, found: ResolvedVersion) -> Model:
        place = self._home / found.folder
        with self._writing():
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=self._home, prefix=".download-", ignore_cleanup_errors=True
            ) as directory:
                try:
                    fetched = self._fetched(found, Path(directory, "files"))
                except DependencyDownError as down:
                    if fault := storage_fault(down):
                        raise self._cache_down(fault) from down
                    raise
                try:
                    model = self._admit(self._read(fetched, found), found)
                except PackageError as error:  # the text must not name the temporary directory
                    require_no_page(fetched, found.artifacts)
                    text = str(error).replace(str(fetched), found.artifacts)
                    raise PackageError(error.fault, text) from error
                if not found.version and place.is_dir():
                    shutil.rmtree(place)
                try:
                    fetched.rename(place)
                except OSError:
                    if not place.is_dir():  # otherwise another worker was faster
                        raise
        _LOG.info("model downloaded", uri=self._uri.uri, version=model.version)
        return replace(model, origin=place)

    def _fetched(self, found: ResolvedVersion, directory: Path) -> Path:
        directory.mkdir()
        if self._uri.kind == "location":
            return download_location(found.artifacts, str(directory))
        if found.scaler is not None:
            return download_classical(found.artifacts, found.scaler, str(directory), self._store)
        return download(found.artifacts, str(directory), self._store)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Report a cache that cannot be written as a dependency that is down, because space may be freed."""
        try:
            yield
        except OSError as error:
            raise self._cache_down(str(error)) from error

    def _cache_down(self, reason: str) -> DependencyDownError:
        return DependencyDownError(
            CACHE, f"{self._home} cannot be written: {reason}; free space there, or set HAZARDSTREAM_CACHE_DIRECTORY"
        )

    def _remembered(self) -> Remembered | None:
        try:
            return Remembered.model_validate_json(self._memory.read_text())
        except OSError:
            return None

    def _remember(self, found: ResolvedVersion) -> None:
        known: list[ResolvedVersion] = []
        with suppress(ValidationError):
            if last := self._remembered():
                known = [ResolvedVersion.model_validate(f.model_dump(exclude={"before"})) for f in (last, *last.before)]
        if known[:1] == [found]:
            return
        before = tuple(other for other in known if other != found)[:_REMEMBERED]
        # Workers that share a cache may write at the same time.
        temporary = self._memory.with_suffix(f".{uuid.uuid4().hex}")
        try:
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(Remembered(**found.model_dump(), before=before).model_dump_json())
            temporary.replace(self._memory)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            _LOG.warning("cannot remember the model; while MLflow is down, it cannot be found", reason=str(error))
