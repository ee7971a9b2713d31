"""A model package in memory, ready to score."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from common.arrays import Float
from worker.alarms.state_machine import AlarmPolicy
from worker.config.task import Task
from worker.model.assessable import ASSESSABLE, Assessable
from worker.model.boosting import UnfitBoosterError, exact_contributions, load_booster, xgboost
from worker.model.contract import Contributions, Features, Model, ModelFailedError, ModelInput, Prediction
from worker.model.package_files import (
    MANIFEST,
    SCALER,
    Contents,
    Fault,
    Manifest,
    PackageError,
    digest,
    read_package,
)
from worker.model.reference import Reference
from worker.model.scaler import Scale, read_scaler
from worker.windows.feature_spec import FeatureSpec

__all__ = [
    "MANIFEST",
    "Manifest",
    "ModelPackage",
    "PackageError",
    "digest",
    "load_package",
    "open_package",
]

# XGBoost sums its trees in float32; other builds and processors may differ in the last bits, never by more.
GOLDEN_TOLERANCE = 1e-5
_GOLDEN_MAX_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPackage(Model):
    """A binary XGBoost model with its features, alarm policy and golden rows.

    Attributes:
        origin: a directory or an exported file.
        digest: SHA-256 of its manifest, in hex.
        golden: features of the golden rows, shape [g, f].
    """

    spec: FeatureSpec
    policy: AlarmPolicy
    origin: Path
    manifest: Manifest
    golden: Float
    scaler: Scale | None
    booster: xgboost.Booster

    def predict(self, features: Features) -> Prediction:
        """See `Model.predict`."""
        return Prediction(self.score(features.numbers))

    def score(self, features: Float) -> Float:
        """Probability of each row of features [n, f], shape [n]. A row's score does not depend on the other rows.

        Raises:
            ModelFailedError: the model fails, or does not give one probability for each row.
        """
        try:
            given = np.asarray(self.booster.inplace_predict(self.scaled(features), missing=np.nan))
        except Exception as error:
            raise ModelFailedError(self, f"cannot score: {type(error).__name__}: {_first_line(error)}") from error
        if given.shape != (len(features),) or given.dtype.kind != "f":
            raise ModelFailedError(
                self,
                f"gives {given.dtype} values of shape {given.shape} for {len(features)} readings; "
                "expected one probability for each",
            )
        usable = (given >= 0) & (given <= 1)  # false for NaN
        if not usable.all():
            raise ModelFailedError(
                self,
                f"gives no probability for {int((~usable).sum())} of {len(given)} readings, but for example "
                f"{given[~usable][0]}; a probability lies between 0 and 1",
            )
        return given.astype(np.float64)

    def scaled(self, features: Float) -> Float:
        """Features [n, f] as the booster takes them: scaled, or unchanged where the package has no scaler."""
        return features if self.scaler is None else self.scaler(features)

    def contributions(self, features: Features) -> Contributions:
        """Exact SHAP contributions to the log-odds (worker/model/boosting.py).

        Raises:
            ModelFailedError: the model fails, or gives values that are not finite.
        """
        try:
            found = exact_contributions(self.booster, self.scaled(features.numbers))
        except Exception as error:
            raise ModelFailedError(
                self, f"cannot explain a score: {type(error).__name__}: {_first_line(error)}"
            ) from error
        if found.parts.shape != features.numbers.shape or not np.isfinite(found.parts).all():
            raise ModelFailedError(self, "does not explain a score: a contribution is missing or not finite")
        return found


def load_package(
    directory: Path, *, version: str, expected_digest: str | None = None, trusted: bool = False
) -> ModelPackage:
    """Read a package and load it; see `read_package` and `open_package`.

    Raises:
        PackageError: it must not be used.
    """
    return open_package(read_package(directory, expected_digest), version=version, trusted=trusted)


def open_package(contents: Contents, *, version: str, trusted: bool = False) -> ModelPackage:
    """Load a package from its files in memory, and compare its scores with its golden rows.

    Args:
        contents: the files, verified.
        version: the registry's version, written into predictions.
        trusted: whether code in a pickled scaler may run.

    Raises:
        PackageError: a file is unreadable, the model has another task, or the golden rows get other scores.
    """
    spec, metrics = read_features(contents), read_metrics(contents)
    with _reading(contents, "alarm.json", "bad_thresholds") as file:
        policy = AlarmPolicy.model_validate_json(file)
    with _reading(contents, "reference.json", "bad_metadata") as file:
        histograms = json.loads(file)
        if histograms and list(histograms["features"]) != spec.names:
            raise PackageError(
                "wrong_signature",
                f"model package {contents.origin}: features.json and reference.json name different features",
            )
        reference = Reference(histograms) if histograms else None
    assessable = _assessable(contents, spec)
    scale = _scaler(contents, len(spec.names), trusted=trusted)
    try:
        with _reading(contents, "booster.ubj", "bad_booster") as file:
            booster = load_booster(file, spec.names)
    except UnfitBoosterError as error:
        raise PackageError("wrong_output", f"model package {contents.origin}: booster.ubj: {error}") from error
    features, expected = _golden(contents)
    package = ModelPackage(
        name=contents.manifest.name,
        version=version,
        digest=contents.digest,
        origin=Path(contents.origin),
        task=Task.BINARY,
        inputs=tuple(ModelInput(name, "double", required=False) for name in spec.names),
        classes=("0", "1"),
        threshold=policy.setpoint,
        metrics=metrics,
        spec=spec,
        policy=policy,
        reference=reference,
        assessable=assessable,
        manifest=contents.manifest,
        golden=features,
        scaler=scale,
        booster=booster,
    )
    _check_golden_rows(package, expected, contents.origin)
    return package


def read_features(contents: Contents) -> FeatureSpec:
    """The features that a package's booster takes.

    Raises:
        PackageError: features.json is unreadable.
    """
    with _reading(contents, "features.json", "bad_features") as file:
        return FeatureSpec.model_validate_json(file)


def _assessable(contents: Contents, spec: FeatureSpec) -> Assessable | None:
    """What the model can judge; None: the package does not say it.

    Raises:
        PackageError: assessable.json is unreadable, or names features that the model does not have.
    """
    if ASSESSABLE not in contents.files:
        return None
    with _reading(contents, ASSESSABLE, "bad_features") as file:
        found = Assessable.model_validate_json(file)
        if unknown := sorted(found.features - set(spec.names)):
            raise ValueError(f"features.json has no {', '.join(unknown)}; name features of the model")
        return found


def read_metrics(contents: Contents) -> dict[str, Any]:
    """The results of a package's training.

    Raises:
        PackageError: metrics.json is unreadable, or cannot be shown as JSON.
    """
    with _reading(contents, "metrics.json", "bad_metadata") as file:
        metrics = TypeAdapter(dict[str, Any]).validate_json(file)
        json.dumps(metrics, allow_nan=False).encode()
        return metrics


@contextmanager
def _reading(contents: Contents, name: str, fault: Fault) -> Iterator[bytes]:
    try:
        yield contents.files[name]
    except (PackageError, UnfitBoosterError):
        raise
    except Exception as error:  # the code of a trusted scaler may raise anything
        raise PackageError(
            fault, f"model package {contents.origin}: {name}: {type(error).__name__}: {error}"
        ) from error


def _scaler(contents: Contents, features: int, *, trusted: bool) -> Scale | None:
    name = contents.manifest.scaler
    if name is None:
        return None
    with _reading(contents, name, "bad_scaler") as file:
        if name == SCALER:
            return read_scaler(file, features)
        # Only packages of format 1 need it.
        from worker.model.pickled_scaler import UntrustedScalerError, read_pickled_scaler, trusted_scaler  # noqa: PLC0415

        try:
            return read_pickled_scaler(file).scale(features)
        except UntrustedScalerError as error:
            if trusted:
                return trusted_scaler(file)
            raise PackageError(
                "untrusted",
                f"model package {contents.origin}: {name} holds {error}, and reading that would run its author's code; "
                f"write the scaler as numbers (scaler.json), or allow the code of this package with "
                f"HAZARDSTREAM_MODEL_TRUST=sha256:{contents.digest}",
            ) from error


def _golden(contents: Contents) -> tuple[Float, Float]:
    with _reading(contents, "golden.npz", "bad_golden_rows") as file:
        with zipfile.ZipFile(io.BytesIO(file)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _GOLDEN_MAX_BYTES:
                raise ValueError(f"it unpacks to more than {_GOLDEN_MAX_BYTES} bytes")
        with np.load(io.BytesIO(file), allow_pickle=False) as golden:
            features, expected = golden["features"], golden["probability"]
        if features.dtype.kind != "f" or expected.dtype.kind != "f":
            raise ValueError(f"features and probability are {features.dtype} and {expected.dtype}, not floats")
    return features, expected


def _check_golden_rows(package: ModelPackage, expected: Float, origin: str) -> None:
    golden, names = package.golden, package.spec.names
    if golden.ndim != 2 or golden.shape[1] != len(names):
        raise PackageError(
            "wrong_signature",
            f"model package {origin}: golden.npz has {golden.shape[-1]} features, and features.json {len(names)}",
        )
    if not len(golden) or expected.shape != (len(golden),):
        raise PackageError(
            "bad_golden_rows",
            f"model package {origin}: golden.npz has {len(golden)} rows and {expected.size} scores; "
            "it must have at least one row, and one score for each",
        )
    try:
        off = np.abs(package.score(golden) - expected)
    except ModelFailedError as error:
        raise PackageError("wrong_output", f"model package {origin}: its golden rows: {error}") from error
    if not (off <= GOLDEN_TOLERANCE).all():
        raise PackageError(
            "golden_rows_differ",
            f"model package {origin}: the scores of its golden rows differ by up to {off.max():.2g}; "
            f"at most {GOLDEN_TOLERANCE} is allowed",
        )


def _first_line(error: Exception) -> str:
    """XGBoost appends its own stack trace to its messages."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else ""
