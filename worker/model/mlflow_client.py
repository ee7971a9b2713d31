"""MLflow as this project uses it: which store, calls that end in bounded time, failures in our own terms."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.bounded_http import bound_mlflow
from common.directories import data_directory
from common.environment import variable
from common.errors import DependencyDownError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

DIGEST_TAG = "hazardstream.manifest_sha256"
"""Tag of a model version: digest of its package's manifest."""

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
_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
_NOT_ALLOWED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_LONGEST_REASON = 300
# What MLflow's client says of an answer that is not in its own form.
_STATUS = re.compile(r"failed with error code (\d+) != \d+\. Response body: '(.*)", re.DOTALL)


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
    """A tracking URI fit for logs: without user, password and query."""
    if tracking_uri.startswith(("http:", "https:")):
        tracking_uri = tracking_uri.partition("?")[0].partition("#")[0]
    return re.sub(r"//[^/]*@", "//", tracking_uri)


def prepare_mlflow() -> None:
    """Bound MLflow's retries and quieten it, where the environment says nothing. To be called before its import."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if variable(name) is None:  # MLflow takes an empty one, or what Kubernetes adds, for a value
            del os.environ[name]
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _check_environment() -> None:
    """See that MLflow can read its variables: it does so in mid-call, and fails there."""
    from mlflow import environment_variables  # noqa: PLC0415 - it takes seconds

    for known in vars(environment_variables).values():
        name = getattr(known, "name", None)
        if isinstance(name, str) and hasattr(known, "get") and name in os.environ:
            try:
                known.get()
            except ValueError as error:
                raise UserError(f"{name}={os.environ[name]!r}: {error}; correct it or unset it") from error


def _check_store(tracking_uri: str) -> None:
    """See that a text without a scheme names a store in files that is there: MLflow would make one of any name."""
    path = Path(tracking_uri)
    if not (urlsplit(tracking_uri).scheme or path.is_absolute() or path.is_dir()):
        raise UserError(
            f"MLFLOW_TRACKING_URI={tracking_uri} is neither an address nor a directory that is there; write "
            "http://HOST:PORT, sqlite:///PATH, or the path of a store"
        )


def _check_address(tracking_uri: str) -> None:
    """See that the address of a server is one, without showing what may be a part of a password."""
    try:
        parts = urlsplit(tracking_uri)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or "@" in parts.path + parts.query + parts.fragment:
        raise UserError(
            "MLFLOW_TRACKING_URI is not a URL; write http://HOST:PORT, with user and password in "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )


@contextmanager
def mlflow_client(tracking_uri: str) -> Iterator["MlflowClient"]:
    """A client of an MLflow store or server; what goes wrong within the block is raised in our own terms.

    Raises:
        NotInMlflowError: there is no such model, version, alias, run or file.
        NotAllowedError: it is refused.
        UserError: a local store is to be read where only the small MLflow client is installed.
        DependencyDownError: MLflow does not answer, or something else does in its place.
    """
    prepare_mlflow()
    # It takes seconds.
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException  # noqa: PLC0415

    bound_mlflow()
    at, remote = shown(tracking_uri), tracking_uri.startswith(("http:", "https:"))
    _check_address(tracking_uri) if remote else _check_store(tracking_uri)
    _check_environment()
    try:
        yield MlflowClient(tracking_uri, registry_uri=tracking_uri)
    except (UnsupportedModelRegistryStoreURIException, ModuleNotFoundError) as error:
        if getattr(error, "name", None) in {"boto3", "botocore"}:
            raise UserError(
                f"MLflow at {at} keeps the model in S3: pip install 'hazardstream[s3]', or have "
                "the MLflow server hand out files itself (--serve-artifacts)"
            ) from error
        if isinstance(error, UnsupportedModelRegistryStoreURIException) and not _is_database(tracking_uri):
            raise UserError(
                f"MLFLOW_TRACKING_URI={at}: MLflow has no such scheme; write http://HOST:PORT, sqlite:///PATH, or the "
                "path of a store"
            ) from error
        raise UserError(
            f"MLflow at {at} cannot be read with what is installed: a store in a database needs the whole of MLflow "
            "(pip install 'hazardstream[training]'); or set MLFLOW_TRACKING_URI to an MLflow server"
        ) from error
    except (UserError, DependencyDownError):
        raise
    except MlflowException as error:
        raise _in_our_terms(error, at) from error
    except OSError as error:  # those of the HTTP client are, too
        raise DependencyDownError("mlflow", f"{at}: {_root(error)}") from error
    except Exception as error:  # what its client makes of an answer that no MLflow gives
        if not remote:
            raise
        reason = f"its answer cannot be read, is that MLflow? {type(error).__name__}: {_root(error)}"
        raise DependencyDownError("mlflow", f"{at}: {reason}") from error


def _is_database(tracking_uri: str) -> bool:
    return urlsplit(tracking_uri).scheme.partition("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def _in_our_terms(error: "MlflowException", at: str) -> Exception:
    reason = str(error).partition("\n")[0][:_LONGEST_REASON]
    if _by_a_front(error):
        return DependencyDownError("mlflow", f"{at}: {_front(error)}")
    if error.error_code in _NOT_THERE:
        return NotInMlflowError(f"MLflow at {at}: {reason}")
    if error.error_code in _NOT_ALLOWED:
        return NotAllowedError(
            f"MLflow at {at} refuses: {reason}; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN"
        )
    return DependencyDownError("mlflow", f"{at}: {_root(error)}")


def _by_a_front(error: "MlflowException") -> bool:
    """Whether an answer was not of MLflow's own form: its client makes an error up from the mere status code."""
    told = getattr(error, "json", None)
    if told is None:
        return str(error).startswith("API request to")
    return not isinstance(told, dict) or told.get("error_code") != error.error_code


def _front(error: "MlflowException") -> str:
    """What a proxy or another service said in MLflow's place, or what kept us from hearing anything."""
    found = _STATUS.search(str(error))
    if found is None:
        return _root(error)
    status, body = found.groups()
    hint = ""
    if status in {"401", "403", "407"}:
        hint = "; if it asks for them, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    words = f"HTTP status {status} without an error message of MLflow's: is that MLflow, or a proxy?"
    return f"{words} {body[:80]!r}{hint}"


def require_answer(tracking_uri: str, plausible: bool, words: str) -> None:
    """See that what MLflow said answers the question: a front may say anything in valid JSON.

    Raises:
        DependencyDownError: it does not.
    """
    if not plausible:
        at = shown(tracking_uri)
        raise DependencyDownError("mlflow", f"{at}: it answers with {words}, which was not asked for: is that MLflow?")


def _root(error: BaseException) -> str:
    """What lies beneath: layers of HTTP clients wrap `connection refused` in a page of text."""
    while (beneath := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = beneath
    return str(error)[:_LONGEST_REASON] or type(error).__name__
