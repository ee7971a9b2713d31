"""The user's own directories, which a process without a home (a random user id, as on OpenShift) does not have."""

from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from worker.errors import UserError

_NAME = "hazardstream"


def cache_directory() -> Path:
    """Where downloads and verified models are kept by default.

    Raises:
        UserError: this process has no home directory.
    """
    try:
        return user_cache_path(_NAME)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            "this process has no home directory to keep a cache in (no HOME, and no such user on this machine); set "
            "HAZARDSTREAM_CACHE_DIRECTORY to a directory that it may write to"
        ) from error


def data_directory() -> Path:
    """Where the local MLflow store is kept by default.

    Raises:
        UserError: this process has no home directory.
    """
    try:
        return user_data_path(_NAME)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            "this process has no home directory for a local MLflow store (no HOME, and no such user on this machine); "
            "set MLFLOW_TRACKING_URI to an MLflow server, or HOME"
        ) from error
