"""A model package in one file, for sites without MLflow: an uncompressed zip, the same bytes whenever it is written.

    export.json      what the model is: name, version, training date, features, metrics, libraries, manifest's digest
    package/…        the files of the package, manifest.json among them

Nothing is compressed, so that no file unpacks to more than it weighs; only what the manifest lists is read.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.model.package import ModelPackage
from worker.model.package_files import (
    MANIFEST,
    MANIFEST_MAX_BYTES,
    PACKAGE_MAX_BYTES,
    Contents,
    PackageError,
    parse_manifest,
    read_package,
    verified,
)

FORMAT = 1
_METADATA, _FOLDER = "export.json", "package/"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_READABLE = 0o644 << 16
_METADATA_MAX_BYTES = 1 << 24
_MOST_BYTES = PACKAGE_MAX_BYTES + _METADATA_MAX_BYTES + MANIFEST_MAX_BYTES


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


class Archive(NamedTuple):
    """An exported file: the package in it, what it says of it, and the SHA-256 of the whole file."""

    contents: Contents
    metadata: Metadata
    sha256: str


def pack(package: ModelPackage, source: str, archive: Path) -> Metadata:
    """Write a package into one file, which appears when it is complete.

    Args:
        package: as it was loaded; its directory or file is still there.
        source: URI that it was loaded from.
        archive: the file; replaced if it is there.

    Raises:
        OSError: it cannot be written.
        PackageError: the package has changed since it was loaded.
    """
    contents = read_again(package)
    metadata = Metadata(
        format=FORMAT,
        name=package.name,
        version=package.version,
        source=source,
        trained_at=package.manifest.created_at,
        features=package.spec.names,
        libraries=package.manifest.libraries,
        metrics=package.metrics,
        manifest_sha256=contents.digest,
    )
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file:
            _add(file, _METADATA, metadata.model_dump_json(indent=2).encode())
            for name, content in sorted([(MANIFEST, contents.manifest_bytes), *contents.files.items()]):
                _add(file, f"{_FOLDER}{name}", content)
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
    with _opened(archive, archive) as file:
        return _metadata(file, archive)


def read_archive(archive: Path) -> Archive:
    """Read an exported file once, and verify the package in the bytes that were read. Nothing is unpacked to disk.

    Raises:
        PackageError: it is no exported model, or not a whole one.
    """
    try:
        with archive.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PackageError("unreadable_manifest", f"{archive} cannot be read: {error}") from error
    if len(content) > _MOST_BYTES:
        raise PackageError("too_large", f"{archive} has more than {_MOST_BYTES} bytes: it is no exported model")
    with _opened(io.BytesIO(content), archive) as file:
        metadata = _metadata(file, archive)
        sealed = _content(file, _FOLDER + MANIFEST, archive, MANIFEST_MAX_BYTES)
        if hashlib.sha256(sealed).hexdigest() != metadata.manifest_sha256:
            raise PackageError("digest_mismatch", f"{archive}: {MANIFEST} was altered (digest differs)")
        manifest = parse_manifest(sealed, str(archive), metadata.manifest_sha256)
        files = {name: _content(file, _FOLDER + name, archive, PACKAGE_MAX_BYTES) for name in manifest.files}
    contents = verified(Contents(str(archive), manifest, metadata.manifest_sha256, files, sealed))
    return Archive(contents, metadata, hashlib.sha256(content).hexdigest())


def read_again(package: ModelPackage) -> Contents:
    """The files of a package that was loaded before, from its directory or exported file.

    Raises:
        PackageError: they are not the same any more.
    """
    contents = (
        read_package(package.directory) if package.directory.is_dir() else read_archive(package.directory).contents
    )
    if contents.digest != package.digest:
        raise PackageError("digest_mismatch", f"{package.directory} has changed since it was loaded; try again")
    return contents


def require_its_own(package: ModelPackage, metadata: Metadata, archive: Path) -> None:
    """See that a file says of its package what is so. Of the version there is no other trace: its digest proves that.

    Raises:
        PackageError: it was altered.
    """
    said = metadata.name, metadata.trained_at, metadata.features, metadata.libraries, metadata.metrics
    manifest = package.manifest
    if said != (package.name, manifest.created_at, package.spec.names, manifest.libraries, package.metrics):
        raise PackageError("digest_mismatch", f"{archive}: {_METADATA} was altered: it is not of this package")


def _opened(archive: Path | io.BytesIO, name: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise PackageError("unreadable_manifest", f"{name} is no exported model: {error}") from error


def _metadata(file: zipfile.ZipFile, archive: Path) -> Metadata:
    try:
        metadata = Metadata.model_validate_json(_content(file, _METADATA, archive, _METADATA_MAX_BYTES))
    except ValidationError as error:
        raise PackageError("unreadable_manifest", f"{archive}: {_METADATA} is not readable: {error}") from error
    if metadata.format != FORMAT:
        raise PackageError("unknown_format", f"{archive}: format {metadata.format}, this release reads {FORMAT}")
    return metadata


def _content(file: zipfile.ZipFile, name: str, archive: Path, at_most: int) -> bytes:
    try:
        entry = file.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise PackageError("unreadable_manifest", f"{archive}: {name} is compressed, which no export is")
        if entry.file_size > at_most:
            raise PackageError("too_large", f"{archive}: {name} is too large; the limit is {at_most} bytes")
        return file.read(entry)
    except KeyError as error:
        raise PackageError("missing_file", f"{archive}: {name} is missing") from error
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # encrypted, …
        raise PackageError("digest_mismatch", f"{archive}: {name} is damaged: {error}") from error
