"""Downloads the files of a model from where MLflow stores them: a server, S3 or a directory."""

import errno
import re
from pathlib import Path

from common.bounded_http import bounded_download
from common.errors import DependencyDownError, UserError
from worker.model.mlflow_client import NotInMlflowError, mlflow_client, prepare_mlflow, without_credentials
from worker.model.model_files import TUNED_MODEL, TUNED_SCALER
from worker.model.package_files import MANIFEST, NEEDED
from worker.model.uri import PATTERNS

_BEGINNING = 512  # bytes of a file that are enough to recognise a web page
# MLflow keeps only the text of an error about a file.
_STORAGE_FAULT = re.compile(
    "|".join(
        rf"\[Errno {number}\][^:\n]*"
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
    )
)


def storage_fault(down: DependencyDownError) -> str | None:
    """The error of the local disk that made a download fail; None if the cause is another."""
    fault = _STORAGE_FAULT.search(str(down.__cause__))
    return fault and fault[0]


def download(artifacts: str, directory: str, store: str) -> Path:
    """Fetch a model's files.

    Args:
        artifacts: location of the files: `runs:/ID/PATH`, or another URI that MLflow's client supports.
        directory: local directory to write them to.
        store: tracking URI of the MLflow store that gave the location.

    Returns:
        Directory of the files, inside `directory`.

    Raises:
        NotInMlflowError: there are no files.
        DependencyDownError: the files are not available now.
    """
    with mlflow_client(store) as client:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - see mlflow_client

        if run := PATTERNS["run"].fullmatch(artifacts):
            # Not by the run's URI, because MLflow then reports every failure as an empty path.
            if not client.list_artifacts(run["name"], run["which"]):
                raise NotInMlflowError(
                    f"MLflow at {without_credentials(store)}: run {run['name']} has no files at {run['which']}; "
                    "correct the path, or log the model there"
                )
            artifacts = f"{client.get_run(run['name']).info.artifact_uri}/{run['which']}"
        with bounded_download():
            return Path(download_artifacts(artifact_uri=artifacts, dst_path=directory, tracking_uri=store))


def download_classical(artifacts: str, scaler: str, directory: str, store: str) -> Path:
    """Fetch the two parts of the classical layout of a run: the model, and the scaler beside it.

    Args:
        artifacts: location of the model.
        scaler: location of the scaler; empty: there is none.
        directory: local directory to write them to.
        store: tracking URI of the MLflow store that gave the locations.

    Returns:
        Directory of both, inside `directory`.

    Raises:
        NotInMlflowError: there are no files.
        DependencyDownError: the files are not available now.
    """
    home, model, beside = (Path(directory, name) for name in ("run", "model", "beside"))
    for each in (home, model, beside):
        each.mkdir()
    download(artifacts, str(model), store).rename(home / TUNED_MODEL)
    if scaler:
        download(scaler, str(beside), store).rename(home / TUNED_SCALER)
    return home


def download_location(uri: str, directory: str) -> Path:
    """Fetch a model's files from S3.

    Args:
        uri: `s3://BUCKET/PATH`.
        directory: local directory to write them to.

    Raises:
        UserError: the client for S3 is not installed.
        DependencyDownError: the files are not available now.
    """
    prepare_mlflow()
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - the import takes seconds

    try:
        with bounded_download():
            return Path(download_artifacts(artifact_uri=uri, dst_path=directory))
    except ImportError as error:
        raise UserError(f"{uri}: pip install 'hazardstream[s3]'") from error
    except Exception as error:  # clients of S3 raise exceptions of their own
        raise DependencyDownError("model store", f"{uri}: {type(error).__name__}: {error}") from error


def require_no_page(fetched: Path, artifacts: str) -> None:
    """Check that the files are not the answers of a proxy.

    Raises:
        DependencyDownError: a file is a web page, an error message or empty.
    """
    for path in sorted(fetched.rglob("*")) if fetched.is_dir() else [fetched]:
        if path.is_file():
            with path.open("rb") as file:
                read = file.read(_BEGINNING)
                beginning = read.lstrip().lower()
            page = beginning.startswith((b"<!doctype", b"<html", b"<?xml"))
            empty = not beginning and len(read) < _BEGINNING and path.name in {MANIFEST, *NEEDED}
            if page or empty or (path.name == MANIFEST and b'"error_code"' in beginning):
                what = "a web page" if page else "an empty file" if empty else "an error message"
                raise DependencyDownError("mlflow", f"{artifacts}: {what} came in place of {path.name}")
