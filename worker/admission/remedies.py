"""What to do about a model that must not be used."""

from collections.abc import Mapping

from worker.model.package_files import Fault, PackageError

_TRY_IT = "try `mlflow.pyfunc.load_model(PATH).predict(ROWS)` where it was trained, and log it again when that works"
_REMEDIES: Mapping[Fault, str] = {
    "missing_file": "copy the model again with all its files, or log it again",
    "digest_mismatch": "copy the model again from where it was written, or register it again",
    "unreadable_manifest": "copy or export the package again",
    "unknown_format": "install the release of hazardstream that wrote it",
    "too_large": "name the directory of one model, without other files",
    "bad_features": "write the package again with `hazardstream train --output DIR`",
    "bad_thresholds": "correct `alarm` in the pipeline file, or the alarm.json of the package",
    "bad_metadata": "write the package again with `hazardstream train --output DIR`",
    "bad_scaler": "write the scaler as numbers (scaler.json), and the package again",
    "bad_booster": "copy the model again, complete, or log it again",
    "bad_model": f"{_TRY_IT} with the libraries that are installed here",
    "wrong_output": "correct the model, and log it again",
    "wrong_signs": "train it with these signs as monotone_constraints, or take them out of features.json",
    "crashes": _TRY_IT,
    "bad_golden_rows": "write the package again with `hazardstream train --output DIR`",
    "wrong_signature": "correct `features` or the fields in the pipeline's folder, or name another model",
    "golden_rows_differ": "write the package again with the libraries that are installed here",
    "too_slow": "use a smaller model, or raise HAZARDSTREAM_MODEL_MAX_MS",
    "failed_in_use": "register another version",
    "missing_library": "install it beside hazardstream",
    "not_there": "correct the URI",
}


def with_remedy(error: PackageError) -> str:
    """The text of an error with what to do. By convention, a text with a semicolon says that itself.

    So does each text about a model that is not trusted.
    """
    text = str(error)
    return text if "; " in text or error.fault == "untrusted" else f"{text}; {_REMEDIES[error.fault]}"
