"""The files of a model package, read once: what is verified, tried and loaded are the very same bytes.

manifest.json    name, digests (SHA-256) of the other files, library versions, schema fingerprint
features.json    FeatureSpec
booster.ubj      XGBoost's own format
scaler.json      Scaler: numbers only (format 1 has scaler.joblib, a pickle, of which only the numbers are read)
alarm.json       AlarmPolicy: setpoint (the threshold), deadband, delays, priorities
reference.json   training histogram of each feature
golden.npz       features [g, f] and probability [g]: what this model must give for these rows
metrics.json     how well it did in training
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import UserError

MANIFEST = "manifest.json"
SCALER, PICKLED_SCALER = "scaler.json", "scaler.joblib"
FORMAT = 2
_SCALER_OF_FORMAT = {1: PICKLED_SCALER, 2: SCALER}
NEEDED = ("features.json", "alarm.json", "metrics.json", "reference.json", "booster.ubj", "golden.npz")

MANIFEST_MAX_BYTES = 1 << 20
PACKAGE_MAX_BYTES = 1 << 29
_MAX_FILES = 200

Fault = Literal[
    "missing_file",  # a file is not there, or not in the manifest
    "digest_mismatch",  # a file, or the manifest, is not the one that was sealed or registered
    "unreadable_manifest",
    "unknown_format",  # of a newer (or older) release
    "too_large",  # more bytes or files than a package may have
    "untrusted",  # no registered digest, or a scaler that is code
    "bad_features",  # features.json is no FeatureSpec
    "bad_thresholds",  # alarm.json, or the pipeline's overrides of it, make no alarm policy
    "bad_metadata",  # metrics.json or reference.json
    "bad_scaler",  # it cannot be read, or turns numbers into none
    "bad_booster",
    "wrong_output",  # it does not give one probability for each reading
    "crashes",  # the process that loads it
    "bad_golden_rows",  # they cannot be read
    "wrong_signature",  # not the features of its golden rows, or of a pipeline with this record
    "golden_rows_differ",  # they score differently, or not at all
    "too_slow",
    "failed_in_use",  # it passed the check and then failed while readings were scored
    "not_there",  # there is no such alias, version or run
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Why a package is refused: the label of `hazardstream_model_refused_total`."""


class PackageError(UserError):
    """A model package that must not be used; the text names the fault.

    Attributes:
        fault: its kind.
    """

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


class Manifest(BaseModel):
    """What manifest.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    created_at: str
    schema_fingerprint: str
    libraries: dict[str, str]
    files: dict[str, str]

    @property
    def scaler(self) -> str:
        """Name of the file that holds the scaler."""
        return _SCALER_OF_FORMAT[self.format]


@dataclass(frozen=True)
class Contents:
    """All files of a package, in memory, each with the digest that the manifest has of it.

    Attributes:
        origin: where they were read, for messages.
        digest: SHA-256 of manifest.json, in hex. It stands for the whole package.
        files: name -> bytes, all that the manifest lists.
    """

    origin: str
    manifest: Manifest
    digest: str
    files: Mapping[str, bytes]
    manifest_bytes: bytes

    def write(self, directory: Path) -> None:
        """Write the package into a directory.

        Raises:
            OSError: it cannot be written.
        """
        for name, content in {MANIFEST: self.manifest_bytes, **self.files}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(content)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(
    directory: Path, *, name: str, created_at: str, schema_fingerprint: str, libraries: dict[str, str]
) -> str:
    """Seal a package directory: write manifest.json over the files in it, and return the manifest's own digest."""
    files = {
        str(p.relative_to(directory)): digest(p)
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }
    manifest = Manifest(
        format=FORMAT if PICKLED_SCALER not in files else 1,
        name=name,
        created_at=created_at,
        schema_fingerprint=schema_fingerprint,
        libraries=libraries,
        files=files,
    )
    path = directory / MANIFEST
    path.write_text(json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n")
    return digest(path)


def read_package(directory: Path, expected_digest: str | None = None) -> Contents:
    """Read all files of a package once, and verify the bytes that were read.

    Args:
        directory: where manifest.json is. Links are followed only within it.
        expected_digest: SHA-256 of manifest.json as the registry has it, if it has one.

    Raises:
        PackageError: a file is missing, altered, too large, no regular file or outside of the directory.
    """
    origin = str(directory)
    if not (directory / MANIFEST).is_file():
        raise PackageError("missing_file", f"no model package in {origin}: {MANIFEST} is missing")
    content = _read(directory, MANIFEST, MANIFEST_MAX_BYTES, origin)
    manifest = parse_manifest(content, origin, expected_digest)
    files: dict[str, bytes] = {}
    left = PACKAGE_MAX_BYTES
    for name in manifest.files:
        files[name] = _read(directory, name, left, origin)
        left -= len(files[name])
    return verified(Contents(origin, manifest, hashlib.sha256(content).hexdigest(), files, content))


def parse_manifest(content: bytes, origin: str, expected_digest: str | None) -> Manifest:
    """The manifest in these bytes.

    Args:
        content: of manifest.json.
        origin: of the package, for messages.
        expected_digest: SHA-256 that these bytes must have, if it is known.

    Raises:
        PackageError: it is another one, cannot be read, is of an unknown format, or does not list what a package needs.
    """
    if expected_digest is not None and hashlib.sha256(content).hexdigest() != expected_digest:
        raise PackageError(
            "digest_mismatch",
            f"model package {origin}: {MANIFEST} is not the one that was registered (digest differs)",
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise PackageError(
            "unreadable_manifest", f"model package {origin}: {MANIFEST} is not readable: {error}"
        ) from error
    if manifest.format not in _SCALER_OF_FORMAT:
        known = " and ".join(map(str, _SCALER_OF_FORMAT))
        raise PackageError(
            "unknown_format", f"model package {origin}: format {manifest.format}, this worker reads {known}"
        )
    if len(manifest.files) > _MAX_FILES:
        raise PackageError(
            "too_large", f"model package {origin}: {len(manifest.files)} files, and a package has at most {_MAX_FILES}"
        )
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or str(path) != name:
            raise PackageError(
                "unreadable_manifest", f"model package {origin}: {name!r} in {MANIFEST} lies outside of the package"
            )
    for needed in (*NEEDED, manifest.scaler):
        if needed not in manifest.files:
            raise PackageError("missing_file", f"model package {origin}: {needed} is not in the manifest")
    return manifest


def verified(contents: Contents) -> Contents:
    """See that each file has the digest that the manifest has of it.

    Raises:
        PackageError: one has not.
    """
    for name, expected in contents.manifest.files.items():
        if hashlib.sha256(contents.files[name]).hexdigest() != expected:
            raise PackageError(
                "digest_mismatch", f"model package {contents.origin}: {name} was altered (digest differs)"
            )
    return contents


def _read(directory: Path, name: str, at_most: int, origin: str) -> bytes:
    path = directory / name
    home, real = os.path.realpath(directory), os.path.realpath(path)
    if os.path.commonpath((home, real)) != home:
        raise PackageError("missing_file", f"model package {origin}: {name} is a link that leads out of the package")
    try:
        # Without O_NONBLOCK the opening of a named pipe waits for a writer; without O_NOFOLLOW the file could be
        # exchanged for a link since it was looked at.
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise PackageError("missing_file", f"model package {origin}: {name} is missing ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # before it is a file of Python's, which no directory can be
        os.close(opened)
        raise PackageError("missing_file", f"model package {origin}: {name} is no regular file")
    try:
        with open(opened, "rb") as file:  # noqa: PTH123 - it is a descriptor
            content = file.read(at_most + 1)
    except OSError as error:  # a failing disk, or a network file system that went away
        raise PackageError(
            "missing_file", f"model package {origin}: {name} cannot be read ({error.strerror or error})"
        ) from error
    if len(content) > at_most:
        limit = MANIFEST_MAX_BYTES if name == MANIFEST else PACKAGE_MAX_BYTES
        raise PackageError("too_large", f"model package {origin}: {name} is too large; the limit is {limit} bytes")
    return content
