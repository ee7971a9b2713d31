"""The classical layout of a run: `tuned_xgboost_model/`, and the scaler of its columns in `scaler.joblib`."""

from worker.model.backends.backend import Backend, require_columns
from worker.model.backends.mlmodel import MlModel
from worker.model.backends.xgboost_booster import load_xgboost
from worker.model.contract import ModelInput
from worker.model.model_files import TUNED_MODEL, TUNED_SCALER, ModelFiles
from worker.model.package_files import PackageError
from worker.model.scaler import Scale


def load_scaled_booster(files: ModelFiles, described: MlModel) -> Backend:
    """Load a booster and the scaler of its columns. Their names come from the signature, the scaler or the booster.

    Raises:
        PackageError: one of them cannot be read, or they take different columns.
    """
    if "xgboost" not in described.flavors:
        raise PackageError("bad_model", f"model {files.origin}: {TUNED_MODEL} has no XGBoost model")
    booster, config = files.below(TUNED_MODEL), described.flavors["xgboost"]
    if TUNED_SCALER not in files.files:
        return load_xgboost(booster, config, described.inputs)
    scale, names = _scaler(files)
    declared = described.inputs
    if declared is None and names:
        declared = tuple(ModelInput(name, "double", required=False) for name in names)
    elif declared is not None and names:
        declared = require_columns(files, declared, names)
    backend = load_xgboost(booster, config, declared, scale)
    if names and [each.name for each in backend.inputs] != names:
        raise PackageError(
            "wrong_signature",
            f"model {files.origin}: {TUNED_SCALER} has the columns in the order {', '.join(names)}, and the booster "
            f"{', '.join(each.name for each in backend.inputs)}; train both on the same columns",
        )
    return backend


def _scaler(files: ModelFiles) -> tuple[Scale, list[str]]:
    # Only these models need it.
    from worker.model.pickled_scaler import UntrustedScalerError, read_named_scaler  # noqa: PLC0415

    try:
        numbers, columns, names = read_named_scaler(files.file(TUNED_SCALER))
        return numbers.scale(columns), names
    except UntrustedScalerError as error:
        raise PackageError(
            "bad_scaler",
            f"model {files.origin}: {TUNED_SCALER} holds {error}; only the numbers of scikit-learn's StandardScaler, "
            "RobustScaler, MinMaxScaler and MaxAbsScaler are read from it. Log a scikit-learn pipeline of scaler and "
            "model instead",
        ) from error
    except Exception as error:  # a pickle of unknown origin
        raise PackageError(
            "bad_scaler", f"model {files.origin}: {TUNED_SCALER} cannot be read: {type(error).__name__}: {error}"
        ) from error
