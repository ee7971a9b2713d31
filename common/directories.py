"""The user's directories. A process without a home (a random user id, as on OpenShift) has none."""

from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

from common.errors import UserError

_NAME = "hazardstream"


def cache_directory() -> Path:
    """The default directory of downloads and verified models.

    Raises:
        UserError: this process has no home directory.
    """
    cure = "set HAZARDSTREAM_CACHE_DIRECTORY to a directory that it may write to"
    return _own(user_cache_path, "to keep a cache in", cure)


def data_directory(purpose: str, cure: str) -> Path:
    """The default directory of what must not be lost.

    Args:
        purpose: what it is needed for, such as `for a local MLflow store`.
        cure: what the user may set instead.

    Raises:
        UserError: this process has no home directory.
    """
    return _own(user_data_path, purpose, cure)


def _own(path: Callable[[str], Path], purpose: str, cure: str) -> Path:
    try:
        return path(_NAME)
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"this process has no home directory {purpose} (no HOME, and no such user on this machine); {cure}"
        ) from error
