"""The files of a model package, read once: the bytes that are verified are the bytes that are loaded.

manifest.json    name, digests (SHA-256) of the other files, library versions, schema fingerprint
features.json    FeatureSpec
booster.ubj      XGBoost's own format
scaler.json      Scaler, numbers only; optional (format 1: scaler.joblib, a pickle, of which only the numbers are read)
alarm.json       AlarmPolicy: setpoint (the threshold), deadband, delays, priorities
reference.json   training histogram of each feature
assessable.json  Assessable: which readings the model can judge; optional, without it all
golden.npz       features [g, f] and probability [g]: the scores that this model must give for these rows
metrics.json     results of training
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
from common.validation_errors import fault_texts

MANIFEST = "manifest.json"
SCALER, PICKLED_SCALER = "scaler.json", "scaler.joblib"
FORMAT, PICKLED_SCALER_FORMAT = 2, 1
_FORMATS = (PICKLED_SCALER_FORMAT, FORMAT)
NEEDED = ("features.json", "alarm.json", "metrics.json", "reference.json", "booster.ubj", "golden.npz")

MANIFEST_MAX_BYTES = 1 << 20
PACKAGE_MAX_BYTES = 1 << 29
_MAX_FILES = 200

Fault = Literal[
    "missing_file",  # a file does not exist, or is not in the manifest
    "digest_mismatch",  # a file or the manifest was changed since it was sealed or registered
    "unreadable_manifest",
    "unknown_format",  # written by a newer or much older release
    "too_large",  # more bytes or files than a package may have
    "untrusted",  # no registered digest, or a scaler that is code
    "bad_features",  # features.json is not a FeatureSpec, or assessable.json not an Assessable
    "bad_thresholds",  # alarm.json, or the pipeline's overrides of it, is not a valid alarm policy
    "bad_metadata",  # metrics.json or reference.json cannot be read
    "bad_scaler",  # it cannot be read, or gives values that are not finite
    "bad_booster",  # it cannot be read
    "bad_model",  # the files of a plain MLflow model cannot be read
    "wrong_output",  # it does not give one probability for each reading
    "wrong_signs",  # it does not keep to the signs that features.json declares
    "crashes",  # it ends the process that loads it
    "bad_golden_rows",  # they cannot be read
    "wrong_signature",  # its features differ from those of its golden rows or of the pipeline's record
    "golden_rows_differ",  # the golden rows get other scores than they should
    "too_slow",
    "failed_in_use",  # it passed the check and failed later, while it scored readings
    "missing_library",  # this installation lacks the library that the model needs
    "not_there",  # there is no such alias, version or run
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Why a package is refused: the label of `hazardstream_model_refused_total`."""


class PackageError(UserError):
    """A model package that must not be used.

    Attributes:
        fault: why, as a label of metrics; the text says it in full.
    """

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    created_at: str
    schema_fingerprint: str
    libraries: dict[str, str]
    files: dict[str, str]

    @property
    def scaler(self) -> str | None:
        """Name of the file that holds the scaler; None: the booster takes the features as they are."""
        if self.format == PICKLED_SCALER_FORMAT:
            return PICKLED_SCALER
        return SCALER if SCALER in self.files else None


@dataclass(frozen=True)
class Contents:
    """All files of a package, in memory.

    Attributes:
        origin: where they were read, for messages.
        digest: SHA-256 of manifest.json, in hex. It identifies the whole package.
        files: name -> bytes, of every file that the manifest lists.
    """

    origin: str
    manifest: Manifest
    digest: str
    files: Mapping[str, bytes]
    manifest_bytes: bytes

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

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
    """Seal a package directory: write manifest.json with the digests of its files; return the manifest's own digest."""
    files = {
        str(p.relative_to(directory)): digest(p)
        for p in sorted(directory.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }
    manifest = Manifest(
        format=PICKLED_SCALER_FORMAT if PICKLED_SCALER in files else FORMAT,
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
        expected_digest: SHA-256 of manifest.json according to the registry; None: the registry has none.

    Raises:
        PackageError: a file is missing, altered, too large, not a regular file or outside the directory.
    """
    origin = str(directory)
    if not (directory / MANIFEST).is_file():
        raise PackageError("missing_file", f"no model package in {origin}: {MANIFEST} is missing")
    content = read_file(directory, MANIFEST, MANIFEST_MAX_BYTES, origin)
    manifest = parse_manifest(content, origin, expected_digest)
    files: dict[str, bytes] = {}
    left = PACKAGE_MAX_BYTES
    for name in manifest.files:
        files[name] = read_file(directory, name, left, origin)
        left -= len(files[name])
    return verified(Contents(origin, manifest, hashlib.sha256(content).hexdigest(), files, content))


def parse_manifest(content: bytes, origin: str, expected_digest: str | None) -> Manifest:
    """Read manifest.json.

    Args:
        content: of the file.
        origin: of the package, for messages.
        expected_digest: SHA-256 that the content must have; None: any.

    Raises:
        PackageError: the digest differs, it cannot be read, the format is unknown, or a needed file is not listed.
    """
    if expected_digest is not None and hashlib.sha256(content).hexdigest() != expected_digest:
        raise PackageError(
            "digest_mismatch",
            f"model package {origin}: {MANIFEST} differs from the registered one (digest mismatch)",
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise PackageError(
            "unreadable_manifest", f"model package {origin}: {MANIFEST} cannot be read: {fault_texts(error)}"
        ) from error
    if manifest.format not in _FORMATS:
        known = " and ".join(map(str, _FORMATS))
        raise PackageError(
            "unknown_format",
            f"model package {origin} has format {manifest.format}; this release reads {known}: install a newer one",
        )
    if len(manifest.files) > _MAX_FILES:
        raise PackageError(
            "too_large", f"model package {origin} has {len(manifest.files)} files; at most {_MAX_FILES} are allowed"
        )
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or str(path) != name:
            raise PackageError(
                "unreadable_manifest", f"model package {origin}: {name!r} in {MANIFEST} is outside the package"
            )
    for needed in NEEDED if manifest.scaler is None else (*NEEDED, manifest.scaler):
        if needed not in manifest.files:
            raise PackageError("missing_file", f"model package {origin}: {needed} is not in the manifest")
    return manifest


def verified(contents: Contents) -> Contents:
    """Check the digest of every file, and return the contents.

    Raises:
        PackageError: a digest differs.
    """
    for name, expected in contents.manifest.files.items():
        if hashlib.sha256(contents.files[name]).hexdigest() != expected:
            raise PackageError(
                "digest_mismatch", f"model package {contents.origin}: {name} was altered (digest differs)"
            )
    return contents


def read_file(directory: Path, name: str, at_most: int, origin: str) -> bytes:
    """Read one file of a model: a regular file inside the directory, and not too large.

    Raises:
        PackageError: it is missing, or anything else.
    """
    path = directory / name
    home, real = os.path.realpath(directory), os.path.realpath(path)
    if os.path.commonpath((home, real)) != home:
        raise PackageError("missing_file", f"model package {origin}: {name} is a link to outside the package")
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer. Without O_NOFOLLOW, the file could be
        # replaced by a link after the check above.
        opened = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise PackageError("missing_file", f"model package {origin}: {name} is missing ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # before `open`, which fails otherwise for a directory
        os.close(opened)
        raise PackageError("missing_file", f"model package {origin}: {name} is not a regular file")
    try:
        with open(opened, "rb") as file:  # noqa: PTH123 - it is a descriptor
            content = file.read(at_most + 1)
    except OSError as error:  # a failing disk, or a network file system that has gone
        raise PackageError(
            "missing_file", f"model package {origin}: {name} cannot be read ({error.strerror or error})"
        ) from error
    if len(content) > at_most:
        limit = MANIFEST_MAX_BYTES if name == MANIFEST else PACKAGE_MAX_BYTES
        raise PackageError("too_large", f"model package {origin}: {name} is too large; the limit is {limit} bytes")
    return content
