import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.errors import UserError
from local.jars import REPOSITORY_VARIABLE, _pinned, fetch, kafka_jars

FILES = {f"org/example/part{n}/1.0/part{n}-1.0.jar": f"content {n}".encode() for n in range(12)}
LOCK = "".join(f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in FILES.items())
NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
def requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths asked of a Maven repository that holds FILES."""
    repository = tmp_path / "repository"
    for path, content in FILES.items():
        (repository / path).parent.mkdir(parents=True)
        (repository / path).write_bytes(content)
    paths: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *_: object) -> None:
            paths.append(self.path.lstrip("/"))

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(repository))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv(REPOSITORY_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
        yield paths
        server.shutdown()


@pytest.fixture
def no_waits_between_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooch.core.time.sleep", lambda _seconds: None)


def test_all_files_of_the_lock_are_downloaded_once_into_one_directory(tmp_path: Path, requested: list[str]) -> None:
    directory = fetch(LOCK, tmp_path / "cache")
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == {
        Path(path).name: content for path, content in FILES.items()
    }
    assert sorted(requested) == sorted(FILES)


@pytest.mark.usefixtures("requested")
def test_a_whole_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = fetch(LOCK, tmp_path / "cache")
    monkeypatch.setenv(REPOSITORY_VARIABLE, NOBODY_LISTENS)
    assert fetch(LOCK, tmp_path / "cache") == directory


def test_only_what_is_absent_or_damaged_is_downloaded_again(tmp_path: Path, requested: list[str]) -> None:
    directory = fetch(LOCK, tmp_path / "cache")
    requested.clear()
    (directory / "part3-1.0.jar").write_bytes(b"cut o")
    (directory / "part7-1.0.jar").unlink()
    fetch(LOCK, tmp_path / "cache")
    assert sorted(requested) == ["org/example/part3/1.0/part3-1.0.jar", "org/example/part7/1.0/part7-1.0.jar"]
    assert (directory / "part3-1.0.jar").read_bytes() == b"content 3"


def test_several_at_once_download_each_file_once(tmp_path: Path, requested: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        directories = list(pool.map(lambda _: fetch(LOCK, tmp_path / "cache"), range(4)))
    assert len(set(directories)) == 1
    assert sorted(requested) == sorted(FILES)


@pytest.mark.usefixtures("requested", "no_waits_between_retries")
def test_a_file_with_another_checksum_is_refused_and_not_kept(tmp_path: Path) -> None:
    path = next(iter(FILES))
    lock = LOCK.replace(hashlib.sha256(FILES[path]).hexdigest(), "0" * 64)
    with pytest.raises(UserError, match=r"part0-1\.0\.jar: SHA256 hash .* does not match"):
        fetch(lock, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("part0-1.0.jar"))


@pytest.mark.usefixtures("no_waits_between_retries")
def test_a_repository_out_of_reach_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPOSITORY_VARIABLE, NOBODY_LISTENS)
    with pytest.raises(UserError, match=rf"cannot download {NOBODY_LISTENS}/org/example.*set {REPOSITORY_VARIABLE}"):
        fetch(LOCK, tmp_path / "cache")


def test_kafka_s_jars_are_the_pinned_ones() -> None:
    pinned = dict(line.split() for line in _pinned("kafka.lock").splitlines())
    on_disk = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in kafka_jars().glob("*.jar")}
    assert on_disk == {Path(path).name: sha256 for path, sha256 in pinned.items()}
