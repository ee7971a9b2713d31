"""The jars of the local servers: pinned, verified, kept in the user's cache."""

import hashlib
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.resources import files
from pathlib import Path, PurePosixPath

import pooch
from filelock import FileLock
from jgo.constants import MAVEN_CENTRAL_URL
from tqdm import tqdm

from common.directories import cache_directory
from common.environment import variable
from common.errors import UserError

REPOSITORY_VARIABLE = "HAZARDSTREAM_MAVEN_REPOSITORY"
_PARALLEL_DOWNLOADS = 8
_RETRIES = 3


def kafka_jars() -> Path:
    """The directory with all jars of Apache Kafka, downloaded (44 MB) if any is missing from the cache.

    Raises:
        UserError: a jar cannot be downloaded, or is not the pinned one.
    """
    try:
        return fetch(_pinned("kafka.lock"), cache_directory())
    except UserError as error:
        raise UserError(f"{error}, or set KAFKA_BOOTSTRAP_SERVERS to a Kafka that already runs") from error


def apicurio() -> Path:
    """The directory of Apicurio Registry (with `quarkus-run.jar`), downloaded (158 MB) and unpacked if necessary.

    Raises:
        UserError: the archive cannot be downloaded, or is not the pinned one.
    """
    lock = _pinned("apicurio.lock")
    directory = cache_directory() / f"apicurio-{_digest(lock)}"
    with _only_one_process(directory):
        if not directory.exists():
            _unpack(lock, directory)
    return directory


def fetch(lock: str, cache: Path) -> Path:
    """Download the files of a lock in parallel into one directory, unless they exist and are complete.

    Several processes may call this at once: one downloads, the others wait.

    Args:
        lock: lines "path sha256", with the path within a Maven repository.
        cache: parent of the directory, which is named by a digest of the lock.

    Returns:
        A flat directory holding exactly the files of the lock.

    Raises:
        UserError: a file cannot be downloaded, or its checksum is not the pinned one.
    """
    paths = {PurePosixPath(path).name: (path, sha256) for path, sha256 in map(str.split, lock.splitlines())}
    directory = cache / _digest(lock)
    repository = variable(REPOSITORY_VARIABLE) or MAVEN_CENTRAL_URL
    store = pooch.create(
        path=directory,
        base_url="",
        registry={name: sha256 for name, (_, sha256) in paths.items()},
        urls={name: f"{repository.rstrip('/')}/{path}" for name, (path, _) in paths.items()},
        retry_if_failed=_RETRIES,
    )
    if not _missing(store):
        return directory
    with _only_one_process(directory):
        directory.mkdir(parents=True, exist_ok=True)
        _download(store, _missing(store))
    return directory


def _download(store: pooch.Pooch, names: list[str]) -> None:
    pooch.get_logger().setLevel("WARNING")
    alone = len(names) == 1 and sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=alone, chunk_size=1 << 16, timeout=30)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        names_of = {pool.submit(store.fetch, name, downloader=downloader): name for name in names}
        hidden = True if alone else None  # None: hidden unless standard error is a terminal
        for done in tqdm(as_completed(names_of), "downloading", len(names), unit="file", disable=hidden):
            try:
                done.result()
            except (OSError, ValueError) as error:
                pool.shutdown(wait=False, cancel_futures=True)
                raise UserError(
                    f"cannot download {store.get_url(names_of[done])}: {error}; check the network, or set "
                    f"{REPOSITORY_VARIABLE} to a Maven repository that this machine reaches",
                ) from error


def _missing(store: pooch.Pooch) -> list[str]:
    """Names of files that are missing or not the pinned ones."""

    def whole(name: str, sha256: str) -> bool:
        file = Path(store.path) / name
        return file.is_file() and pooch.file_hash(str(file)) == sha256

    return [name for name, sha256 in store.registry.items() if not whole(name, sha256)]


def _unpack(lock: str, directory: Path) -> None:
    downloads = fetch(lock, cache_directory())
    (archive,) = downloads.glob("*.tar.gz")
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        unpacked = Path(scratch) / "unpacked"
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
        except OSError as error:
            raise UserError(f"cannot unpack {archive}: {error}; free space on that disk and try again") from error
        # Renamed last, so that the directory exists only when it is complete.
        unpacked.rename(directory)
    archive.unlink()


def _only_one_process(directory: Path) -> FileLock:
    directory.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(directory.with_name(f"{directory.name}.lock"))


def _digest(lock: str) -> str:
    return hashlib.sha256(lock.encode()).hexdigest()[:16]


def _pinned(name: str) -> str:
    return files("local").joinpath(name).read_text()
