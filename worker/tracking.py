"""MLflow as this project uses it: which store, calls that end in bounded time, failures in our own terms."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from worker.directories import data_directory
from worker.environment import variable
from worker.errors import DependencyDownError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "hazardstream.manifest_sha256"
"""Tag of a model version: digest of its package's manifest."""
ARTIFACT_PATH = "model"
"""Where a run keeps its package."""

_ENVIRONMENT = {
    # MLflow's own defaults make a call to a dead server last for minutes. Whoever waits does so outside of MLflow.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Whoever names a store in files means it.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND", "NOT_FOUND"}
_NOT_ALLOWED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_LONGEST_REASON = 300


class NotInMlflowError(UserError):
    """MLflow answered, and does not have what was asked for."""


class NotAllowedError(UserError):
    """MLflow answered, and lets these credentials do no such thing."""


def local_store(directory: Path) -> str:
    """Tracking URI of an MLflow store in files of this directory."""
    return f"sqlite:///{directory.absolute() / 'mlflow.db'}"


def store_file(tracking_uri: str) -> Path | None:
    """The file of a store on this machine, None for a server."""
    scheme, _, path = tracking_uri.partition(":///")
    return Path(path).absolute() if scheme == "sqlite" else None


def tracking_uri_or_default(given: str | None) -> str:
    """The tracking URI given, else MLFLOW_TRACKING_URI, else a store in the user's data directory."""
    return given or variable("MLFLOW_TRACKING_URI") or local_store(data_directory())


def shown(tracking_uri: str) -> str:
    """A tracking URI fit for logs: without user and password."""
    return re.sub(r"//[^/@]*@", "//", tracking_uri)


def prepare_mlflow() -> None:
    """Bound MLflow's retries and quieten it, where the environment says nothing. To be called before its import."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def mlflow_client(tracking_uri: str) -> Iterator["MlflowClient"]:
    """A client of an MLflow store or server; what goes wrong within the block is raised in our own terms.

    Raises:
        NotInMlflowError: there is no such model, version, alias, run or file.
        NotAllowedError: it is refused.
        UserError: a local store is to be read where only the small MLflow client is installed.
        DependencyDownError: MLflow does not answer.
    """
    prepare_mlflow()
    # It takes seconds.
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException  # noqa: PLC0415

    at = shown(tracking_uri)
    try:
        yield MlflowClient(tracking_uri, registry_uri=tracking_uri)
    except (UnsupportedModelRegistryStoreURIException, ModuleNotFoundError) as error:
        if getattr(error, "name", None) in {"boto3", "botocore"}:
            raise UserError(
                f"MLflow at {at} keeps the model in S3: pip install 'hazardstream[s3]', or have "
                "the MLflow server hand out files itself (--serve-artifacts)"
            ) from error
        raise UserError(
            f"MLflow at {at} cannot be read with what is installed: a store in a database needs the whole of MLflow "
            "(pip install 'hazardstream[training]'); or set MLFLOW_TRACKING_URI to an MLflow server"
        ) from error
    except MlflowException as error:
        reason = str(error).partition("\n")[0][:_LONGEST_REASON]
        if error.error_code in _NOT_THERE:
            raise NotInMlflowError(f"MLflow at {at}: {reason}") from error
        if error.error_code in _NOT_ALLOWED:
            raise NotAllowedError(
                f"MLflow at {at} refuses: {reason}; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
                "or MLFLOW_TRACKING_TOKEN"
            ) from error
        raise DependencyDownError("mlflow", f"{at}: {_root(error)}") from error
    except OSError as error:  # those of the HTTP client are, too
        raise DependencyDownError("mlflow", f"{at}: {_root(error)}") from error


def require_answer(plausible: bool, words: str) -> None:
    """See that what MLflow said answers the question: a front may say anything in valid JSON.

    Raises:
        DependencyDownError: it does not.
    """
    if not plausible:
        raise DependencyDownError("mlflow", f"it answers with {words}, which was not asked for: is that MLflow?")


def _root(error: BaseException) -> str:
    """What lies beneath: layers of HTTP clients wrap `connection refused` in a page of text."""
    while (beneath := error.__cause__ or error.__context__) is not None:
        error = beneath
    return str(error)[:_LONGEST_REASON] or type(error).__name__
