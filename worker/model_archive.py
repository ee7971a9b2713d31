"""A model package in one file, for sites without MLflow: an uncompressed zip, the same bytes whenever it is written.

    export.json      what the model is: name, version, training date, features, metrics, libraries, manifest's digest
    package/…        the files of the package, manifest.json among them

Nothing is compressed, so that no file unpacks to more than it weighs; only what the manifest lists is unpacked.
"""

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.errors import DependencyDownError
from worker.package import MANIFEST, Manifest, ModelPackage, PackageError, digest, verified_manifest

FORMAT = 1
_METADATA, _FOLDER = "export.json", "package/"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_READABLE = 0o644 << 16


class Metadata(BaseModel):
    """What export.json says.

    Attributes:
        version: stamped on predictions, wherever the file is used.
        source: URI that was exported.
        trained_at: ISO 8601.
        manifest_sha256: digest of the package's manifest, which holds those of all other files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    version: str
    source: str
    trained_at: str
    features: list[str]
    libraries: dict[str, str]
    metrics: dict[str, Any]
    manifest_sha256: str


def pack(package: ModelPackage, source: str, archive: Path) -> Metadata:
    """Write a package into one file, which appears when it is complete.

    Args:
        package: as it was loaded; its directory is still there.
        source: URI that it was loaded from.
        archive: the file; replaced if it is there.

    Raises:
        OSError: it cannot be written.
    """
    metadata = Metadata(
        format=FORMAT,
        name=package.name,
        version=package.version,
        source=source,
        trained_at=package.manifest.created_at,
        features=package.spec.names,
        libraries=package.manifest.libraries,
        metrics=package.metrics,
        manifest_sha256=digest(package.directory / MANIFEST),
    )
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file:
            _add(file, _METADATA, metadata.model_dump_json(indent=2).encode())
            for name in sorted([MANIFEST, *package.manifest.files]):
                _add(file, f"{_FOLDER}{name}", (package.directory / name).read_bytes())
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)
    return metadata


def _add(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.create_system, entry.external_attr = 3, _READABLE  # not those of the machine that writes it
    file.writestr(entry, content)


def read_metadata(archive: Path) -> Metadata:
    """What a file says it holds.

    Raises:
        PackageError: it is no exported model, or one of another format.
    """
    with _opened(archive) as file:
        return _metadata(file, archive)


def unpack(archive: Path, cache: Path) -> tuple[Path, Metadata]:
    """The package in a file, unpacked into the cache once.

    Returns:
        The package's directory, whose files are those that the manifest lists; and what the file says it holds.

    Raises:
        PackageError: it is no exported model, or not a whole one.
        DependencyDownError: the cache cannot be written.
    """
    with _opened(archive) as file:
        metadata = _metadata(file, archive)
        place = cache / "archives" / digest(archive)
        try:
            if not _sound(place, metadata):
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=place.parent, prefix=".unpacking-") as directory:
                    unpacked = Path(directory) / "package"
                    _extract(file, unpacked, archive, metadata)
                    verified_manifest(unpacked, metadata.manifest_sha256)
                    if not place.is_dir():  # else another worker was faster
                        unpacked.rename(place)
        except OSError as error:
            words = f"{place.parent} cannot be written: {error}; make room, or set HAZARDSTREAM_CACHE_DIRECTORY"
            raise DependencyDownError("model cache", words) from error
    return place, metadata


def require_its_own(package: ModelPackage, metadata: Metadata, archive: Path) -> None:
    """See that a file says of its package what is so. Of the version there is no other trace: its digest proves that.

    Raises:
        PackageError: it was altered.
    """
    said = metadata.name, metadata.trained_at, metadata.features, metadata.libraries, metadata.metrics
    manifest = package.manifest
    if said != (package.name, manifest.created_at, package.spec.names, manifest.libraries, package.metrics):
        raise PackageError("digest_mismatch", f"{archive}: {_METADATA} was altered: it is not of this package")


def _sound(place: Path, metadata: Metadata) -> bool:
    try:
        verified_manifest(place, metadata.manifest_sha256)
    except PackageError:
        return False
    return True


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise PackageError("unreadable_manifest", f"{archive} is no exported model: {error}") from error


def _metadata(file: zipfile.ZipFile, archive: Path) -> Metadata:
    try:
        metadata = Metadata.model_validate_json(_content(file, _METADATA, archive))
    except ValidationError as error:
        raise PackageError("unreadable_manifest", f"{archive}: {_METADATA} is not readable: {error}") from error
    if metadata.format != FORMAT:
        raise PackageError("unknown_format", f"{archive}: format {metadata.format}, this release reads {FORMAT}")
    return metadata


def _extract(file: zipfile.ZipFile, directory: Path, archive: Path, metadata: Metadata) -> None:
    content = _content(file, _FOLDER + MANIFEST, archive)
    if hashlib.sha256(content).hexdigest() != metadata.manifest_sha256:
        raise PackageError("digest_mismatch", f"{archive}: {MANIFEST} was altered (digest differs)")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise PackageError("unreadable_manifest", f"{archive}: {MANIFEST} is not readable: {error}") from error
    for name in [MANIFEST, *manifest.files]:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise PackageError("unreadable_manifest", f"{archive}: {name!r} would be written outside of the package")
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(_content(file, _FOLDER + name, archive))


def _content(file: zipfile.ZipFile, name: str, archive: Path) -> bytes:
    try:
        entry = file.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise PackageError("unreadable_manifest", f"{archive}: {name} is compressed, which no export is")
        return file.read(entry)
    except KeyError as error:
        raise PackageError("missing_file", f"{archive}: {name} is missing") from error
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the last two: encrypted, …
        raise PackageError("digest_mismatch", f"{archive}: {name} is damaged: {error}") from error
