"""Access to MLflow: finds the store, bounds the time of calls, and translates errors into those of common/errors.py."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from common.bounded_http import BoundedAdapter, bound_mlflow
from common.directories import data_directory
from common.environment import variable
from common.errors import DependencyDownError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

DIGEST_TAG = "hazardstream.manifest_sha256"
"""Tag of a model version: the digest of its package's manifest."""

_ENVIRONMENT = {
    # With MLflow's defaults a call to a dead server takes minutes. Callers that wait retry the call themselves.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # MLflow warns about a store in files, which is a supported choice here.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_NOT_THERE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
_NOT_ALLOWED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_LONGEST_REASON = 300
_FIRST_ANSWER_S = 3.0
# The error text of MLflow's client for an answer that is not in MLflow's format.
_STATUS = re.compile(r"failed with error code (\d+) != \d+\. Response body: '(.*)", re.DOTALL)


class NotInMlflowError(UserError):
    """MLflow answered that it does not have the requested object."""


class NotAllowedError(UserError):
    """MLflow answered that these credentials do not allow the request."""


def local_store(directory: Path) -> str:
    """Tracking URI of an MLflow store in this directory."""
    return f"sqlite:///{directory.absolute() / 'mlflow.db'}"


def store_file(tracking_uri: str) -> Path | None:
    """The file of a local SQLite store; None for a server."""
    scheme, _, path = tracking_uri.partition(":///")
    return Path(path).absolute() if scheme == "sqlite" else None


def tracking_uri_or_default(given: str | None) -> str:
    """The tracking URI given, else MLFLOW_TRACKING_URI, else a store in the user's data directory."""
    cure = "set MLFLOW_TRACKING_URI to an MLflow server, or HOME"
    return given or variable("MLFLOW_TRACKING_URI") or local_store(data_directory("for a local MLflow store", cure))


def without_credentials(tracking_uri: str) -> str:
    """A tracking URI without user, password and query, for messages and logs."""
    if tracking_uri.startswith(("http:", "https:")):
        tracking_uri = tracking_uri.partition("?")[0].partition("#")[0]
    return re.sub(r"//[^/]*@", "//", tracking_uri)


def prepare_mlflow() -> None:
    """Set MLflow's variables that the environment does not set: few retries, little output. Call before the import."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        if variable(name) is None:  # MLflow would read empty variables and those that Kubernetes adds
            del os.environ[name]
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _check_environment() -> None:
    """Check that MLflow can read its variables. Otherwise it would fail during a call."""
    from mlflow import environment_variables  # noqa: PLC0415 - the import takes seconds

    for known in vars(environment_variables).values():
        name = getattr(known, "name", None)
        if isinstance(name, str) and hasattr(known, "get") and name in os.environ:
            try:
                known.get()
            except ValueError as error:
                raise UserError(f"{name}={os.environ[name]!r}: {error}; correct it or unset it") from error


def _check_store(tracking_uri: str) -> None:
    """Check that a URI without a scheme names an existing directory. MLflow would create any other."""
    path = Path(tracking_uri)
    if not (urlsplit(tracking_uri).scheme or path.is_absolute() or path.is_dir()):
        raise UserError(
            f"MLFLOW_TRACKING_URI={tracking_uri} is neither an address nor a directory that exists; write "
            "http://HOST:PORT, sqlite:///PATH, or the path of a store"
        )


def _check_address(tracking_uri: str) -> None:
    """Check that a server's address is a URL. The error does not show it, because it may contain a password."""
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


_ANSWERED: set[str] = set()


def _require_any_answer(tracking_uri: str) -> None:
    """Ask a server once whether it answers at all: MLflow's client waits, and tries again, for a silent one as well.

    Raises:
        DependencyDownError: nothing came within `_FIRST_ANSWER_S`.
    """
    if tracking_uri in _ANSWERED:
        return
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, BoundedAdapter(within_s=_FIRST_ANSWER_S))
        try:
            asked = session.get(f"{tracking_uri.rstrip('/')}/health", timeout=_FIRST_ANSWER_S, stream=True)
        except requests.Timeout as error:
            text = f"no complete response within {_FIRST_ANSWER_S:g} s; start MLflow, or correct MLFLOW_TRACKING_URI"
            raise DependencyDownError("mlflow", f"{without_credentials(tracking_uri)}: {text}") from error
        except (requests.RequestException, ValueError):
            return  # MLflow's client has its own settings, such as those of TLS, and says what is wrong
        asked.close()
    _ANSWERED.add(tracking_uri)


@contextmanager
def mlflow_client(tracking_uri: str) -> Iterator["MlflowClient"]:
    """A client of an MLflow store or server. Errors inside the block become those below.

    Raises:
        NotInMlflowError: there is no such model, version, alias, run or file.
        NotAllowedError: the credentials do not allow it.
        UserError: the address is wrong, or a package is missing, such as the full MLflow for a local store.
        DependencyDownError: MLflow does not answer, or something else answers in its place.
    """
    at, remote = without_credentials(tracking_uri), tracking_uri.startswith(("http:", "https:"))
    _check_address(tracking_uri) if remote else _check_store(tracking_uri)
    if remote:
        _require_any_answer(tracking_uri)
    prepare_mlflow()
    # The imports take seconds.
    from mlflow import MlflowClient  # noqa: PLC0415
    from mlflow.exceptions import MlflowException  # noqa: PLC0415
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException  # noqa: PLC0415

    bound_mlflow()
    _check_environment()
    try:
        yield MlflowClient(tracking_uri, registry_uri=tracking_uri)
    except (UnsupportedModelRegistryStoreURIException, ModuleNotFoundError) as error:
        if getattr(error, "name", None) in {"boto3", "botocore"}:
            raise UserError(
                f"MLflow at {at} keeps the model in S3: pip install 'hazardstream[s3]', or start "
                "the MLflow server with --serve-artifacts"
            ) from error
        if isinstance(error, UnsupportedModelRegistryStoreURIException) and not _is_database(tracking_uri):
            raise UserError(
                f"MLFLOW_TRACKING_URI={at}: MLflow has no such scheme; write http://HOST:PORT, sqlite:///PATH, or the "
                "path of a store"
            ) from error
        raise UserError(
            f"MLflow at {at} cannot be read: a store in a database needs the full MLflow package "
            "(pip install 'hazardstream[training]'); or set MLFLOW_TRACKING_URI to an MLflow server"
        ) from error
    except (UserError, DependencyDownError):
        raise
    except MlflowException as error:
        raise _translated(error, at) from error
    except OSError as error:  # includes the errors of the HTTP client
        raise DependencyDownError("mlflow", f"{at}: {_root(error)}") from error
    except Exception as error:  # MLflow's client fails in many ways on an answer that is not MLflow's
        if not remote:
            raise
        reason = f"its answer cannot be read, is that MLflow? {type(error).__name__}: {_root(error)}"
        raise DependencyDownError("mlflow", f"{at}: {reason}") from error


def _is_database(tracking_uri: str) -> bool:
    return urlsplit(tracking_uri).scheme.partition("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def _translated(error: "MlflowException", at: str) -> Exception:
    reason = str(error).partition("\n")[0][:_LONGEST_REASON]
    if _from_another_service(error):
        return DependencyDownError("mlflow", f"{at}: {_foreign_answer(error)}")
    if error.error_code in _NOT_THERE:
        return NotInMlflowError(f"MLflow at {at}: {reason}")
    if error.error_code in _NOT_ALLOWED:
        return NotAllowedError(
            f"MLflow at {at} denies access: {reason}; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN"
        )
    return DependencyDownError("mlflow", f"{at}: {_root(error)}")


def _from_another_service(error: "MlflowException") -> bool:
    """Whether the answer was not in MLflow's format. MLflow's client then derives an error from the status code."""
    answer = getattr(error, "json", None)
    if answer is None:
        return str(error).startswith("API request to")
    return not isinstance(answer, dict) or answer.get("error_code") != error.error_code


def _foreign_answer(error: "MlflowException") -> str:
    """The answer of a proxy or another service, or why there was no answer."""
    found = _STATUS.search(str(error))
    if found is None:
        return _root(error)
    status, body = found.groups()
    hint = ""
    if status in {"401", "403", "407"}:
        hint = "; if it needs credentials, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    text = f"HTTP status {status} without an error message of MLflow: is that MLflow, or a proxy?"
    return f"{text} {body[:80]!r}{hint}"


def require_answer(tracking_uri: str, plausible: bool, answer: str) -> None:
    """Check that an answer fits the question, because a proxy may answer with any valid JSON.

    Args:
        tracking_uri: of the store that answered.
        plausible: whether the answer fits.
        answer: description of it, for the error.

    Raises:
        DependencyDownError: the answer does not fit.
    """
    if not plausible:
        at = without_credentials(tracking_uri)
        raise DependencyDownError("mlflow", f"{at}: it answers with {answer}, which was not requested: is that MLflow?")


def _root(error: BaseException) -> str:
    """The text of the root cause. HTTP clients wrap `connection refused` in a page of text."""
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = cause
    return str(error)[:_LONGEST_REASON] or type(error).__name__
