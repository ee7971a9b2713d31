"""Files of a model from wherever MLflow keeps them: a server, S3, a directory."""

import errno
import re
from pathlib import Path

from common.bounded_http import bounded_download
from common.errors import DependencyDownError
from worker.model.mlflow_client import NotInMlflowError, mlflow_client, shown
from worker.model.package_files import MANIFEST, NEEDED
from worker.model.uri import PATTERNS

_BEGINNING = 512  # of a file, in which it shows what it is
# MLflow keeps no more of what went wrong with a file than the text.
_STORAGE_FAULT = re.compile(
    "|".join(
        rf"\[Errno {number}\][^:\n]*"
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
    )
)


def storage_fault(down: DependencyDownError) -> str | None:
    """What kept a download from being written, if that is what failed."""
    fault = _STORAGE_FAULT.search(str(down.__cause__))
    return fault and fault[0]


def download(artifacts: str, directory: str, store: str) -> Path:
    """Fetch a model's files.

    Args:
        artifacts: where they are: `runs:/ID/PATH`, or an address that MLflow's client understands.
        directory: where they go.
        store: tracking URI of the MLflow that said so.

    Returns:
        Their directory, in the one given.

    Raises:
        NotInMlflowError: there are none.
        DependencyDownError: they cannot be had for now.
    """
    with mlflow_client(store) as client:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - see mlflow_client

        if run := PATTERNS["run"].fullmatch(artifacts):
            # Asked for by run, MLflow says of any failure that there is nothing at that path.
            if not client.list_artifacts(run["name"], run["which"]):
                raise NotInMlflowError(f"MLflow at {shown(store)}: run {run['name']} has no files at {run['which']}")
            artifacts = f"{client.get_run(run['name']).info.artifact_uri}/{run['which']}"
        with bounded_download():
            return Path(download_artifacts(artifact_uri=artifacts, dst_path=directory, tracking_uri=store))


def require_no_page(fetched: Path, artifacts: str) -> None:
    """See that a front has not answered for the store of the files.

    Raises:
        DependencyDownError: what came is a web page, an error message or nothing.
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
