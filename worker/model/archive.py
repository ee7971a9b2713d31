"""A model package in one file, for sites without MLflow: an uncompressed zip, the same bytes whenever it is written.

    export.json      what the package itself does not say: version, source, digest of the manifest
    package/…        the files of the package, manifest.json among them

Nothing is compressed, so that no file unpacks to more than it weighs; only files that the manifest lists are read.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from common.validation_errors import fault_texts
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

FORMAT = 2
_FORMATS = (1, FORMAT)  # format 1 repeats in export.json what the package says; that is ignored
_METADATA, _FOLDER = "export.json", "package/"
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of the times that a zip can hold
_READABLE = 0o644 << 16
_METADATA_MAX_BYTES = 1 << 24
_MOST_BYTES = PACKAGE_MAX_BYTES + _METADATA_MAX_BYTES + MANIFEST_MAX_BYTES


class Metadata(BaseModel):
    """The content of export.json.

    Attributes:
        version: written into predictions, wherever the file is used.
        source: URI that was exported.
        manifest_sha256: digest of the package's manifest, which holds those of all other files.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    source: str
    manifest_sha256: str


class Archive(NamedTuple):
    """An exported file: the package and the metadata in it, and the SHA-256 of the whole file."""

    contents: Contents
    metadata: Metadata
    sha256: str


def pack(package: ModelPackage, source: str, archive: Path) -> None:
    """Write a package into one file, which appears when it is complete.

    Args:
        package: a loaded package whose directory or file still exists.
        source: URI that it was loaded from.
        archive: the file; replaced if it exists.

    Raises:
        OSError: it cannot be written.
        PackageError: the package has changed since it was loaded.
    """
    contents = read_again(package)
    metadata = Metadata(format=FORMAT, version=package.version, source=source, manifest_sha256=contents.digest)
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as file:
            _add(file, _METADATA, metadata.model_dump_json(indent=2).encode())
            for name, content in sorted([(MANIFEST, contents.manifest_bytes), *contents.files.items()]):
                _add(file, f"{_FOLDER}{name}", content)
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)


def _add(file: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system, entry.external_attr = 3, _READABLE  # the same on every machine
    file.writestr(entry, content)


def read_archive(archive: Path) -> Archive:
    """Read an exported file once, and verify the digests of the bytes that were read. Nothing is unpacked to disk.

    Raises:
        PackageError: it is not an exported model, or incomplete, or altered.
    """
    try:
        with archive.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PackageError("unreadable_manifest", f"{archive} cannot be read: {error}") from error
    if len(content) > _MOST_BYTES:
        raise PackageError("too_large", f"{archive} has more than {_MOST_BYTES} bytes: it is not an exported model")
    with _opened(content, archive) as file:
        metadata = _metadata(file, archive)
        sealed = _content(file, _FOLDER + MANIFEST, archive, MANIFEST_MAX_BYTES)
        if hashlib.sha256(sealed).hexdigest() != metadata.manifest_sha256:
            raise PackageError("digest_mismatch", f"{archive}: {MANIFEST} was altered (digest differs)")
        manifest = parse_manifest(sealed, str(archive), None)
        files = {name: _content(file, _FOLDER + name, archive, PACKAGE_MAX_BYTES) for name in manifest.files}
    contents = verified(Contents(str(archive), manifest, metadata.manifest_sha256, files, sealed))
    return Archive(contents, metadata, hashlib.sha256(content).hexdigest())


def read_again(package: ModelPackage) -> Contents:
    """Read the files of a loaded package again, from its directory or exported file.

    Raises:
        PackageError: they have changed.
    """
    contents = read_package(package.origin) if package.origin.is_dir() else read_archive(package.origin).contents
    if contents.digest != package.digest:
        raise PackageError("digest_mismatch", f"{package.origin} has changed since it was loaded; try again")
    return contents


def _opened(content: bytes, archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise PackageError("unreadable_manifest", f"{archive} is not an exported model: {error}") from error


def _metadata(file: zipfile.ZipFile, archive: Path) -> Metadata:
    content = _content(file, _METADATA, archive, _METADATA_MAX_BYTES)
    try:
        metadata = Metadata.model_validate_json(content)
    except ValidationError as error:
        raise PackageError("unreadable_manifest", f"{archive}: {_METADATA}: {fault_texts(error)}") from error
    if metadata.format not in _FORMATS:
        known = " and ".join(map(str, _FORMATS))
        raise PackageError(
            "unknown_format", f"{archive} has format {metadata.format}; this release reads {known}: install a newer one"
        )
    return metadata


def _content(file: zipfile.ZipFile, name: str, archive: Path, at_most: int) -> bytes:
    try:
        entry = file.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise PackageError("unreadable_manifest", f"{archive}: {name} is compressed; an exported file never is")
        if entry.file_size > at_most:
            raise PackageError("too_large", f"{archive}: {name} is too large; the limit is {at_most} bytes")
        return file.read(entry)
    except KeyError as error:
        raise PackageError("missing_file", f"{archive}: {name} is missing") from error
    except (OSError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # encrypted, …
        raise PackageError("digest_mismatch", f"{archive}: {name} is damaged: {error}") from error
