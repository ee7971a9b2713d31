"""Something else answers in MLflow's place: a proxy, a login page, a server that never ends. That is an outage."""

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
import requests

from common import bounded_http
from common.errors import DependencyDownError
from tests.harness import wait_until
from tests.models import resealed
from training.registry.register import register_package
from worker.admission.source import resolve, resolve_or_last_good
from worker.model.mlflow_download import download, require_no_page

pytestmark = pytest.mark.xdist_group("fronts")

Answer = Callable[[BaseHTTPRequestHandler], None]
LOGIN = b"<!doctype html><title>Sign in</title>"


def plain(status: int, body: bytes, kind: str = "text/html", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def login_elsewhere(handler: BaseHTTPRequestHandler) -> None:
    if handler.path.startswith("/login"):
        plain(200, LOGIN)(handler)
    else:
        plain(302, b"", Location="/login?next=mlflow")(handler)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


FRONTS: dict[str, Answer] = {
    "an ingress's 404": plain(404, b"default backend - 404", "text/plain"),
    "a page for 404": plain(404, b"<html><h1>404 Not Found</h1><hr>nginx</html>"),
    "an empty 404": plain(404, b""),
    "JSON of a gateway for 404": plain(404, b'{"message": "no Route matched with those values"}', "application/json"),
    "a gateway's own codes": plain(404, b'{"error_code": 404, "message": "no route"}', "application/json"),
    "codes of nobody": plain(400, b'{"error_code": "NO_SUCH_ROUTE"}', "application/json"),
    "JSON that is no object": plain(404, b'"RESOURCE_DOES_NOT_EXIST"', "application/json"),
    "a 401 of a proxy": plain(401, b"<html>Authorization Required</html>"),
    "a 403 of a proxy": plain(403, b"Forbidden", "text/plain"),
    "a 407": plain(407, b""),
    "a login page": plain(200, LOGIN),
    "a login page elsewhere": login_elsewhere,
    "an empty 200": plain(200, b""),
    "an empty object": plain(200, b"{}", "application/json"),
    "a list": plain(200, b"[]", "application/json"),
    "null": plain(200, b"null", "application/json"),
    "another object": plain(200, b'{"status": "ok"}', "application/json"),
    "a wrong type": plain(200, b'{"model_version": 7, "run": [1]}', "application/json"),
    "another model": plain(200, b'{"model_version": {"name": "other", "version": "1"}}', "application/json"),
    "no number": plain(200, b'{"model_version": {"name": "front", "version": "../../x"}}', "application/json"),
    "truncated JSON": plain(200, b'{"model_version": {"name": "fro', "application/json"),
    "a short body": plain(200, b"{", "application/json", **{"Content-Length": "1000"}),
    "bytes": plain(200, b"\xff\xfe\x00", "application/json"),
    "a 502": plain(502, b"<html>Bad Gateway</html>"),
    "a 204": plain(204, b""),
    "nothing": hang_up,
}


@contextmanager
def front(answer: Answer, port: int = 0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_pause_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


class Known(NamedTuple):
    """What an MLflow once gave: a cache, the directory in it that is of that MLflow, and the URIs."""

    cache: Path
    store: Path
    uris: list[str]


@pytest.fixture(scope="module")
def known(model_package: Path, tmp_path_factory: pytest.TempPathFactory, mlflow_url: str) -> Known:
    directory = tmp_path_factory.mktemp("known")
    package = resealed(Path(shutil.copytree(model_package, directory / "package")), name=f"front-{uuid4().hex}")
    done = register_package(package, tracking_uri=mlflow_url)
    uris = [f"models:/{done.name}@champion", f"models:/{done.name}/1", f"runs:/{done.run_id}/model"]
    for uri in uris:
        resolve(uri, cache_directory=directory / "cache", tracking_uri=mlflow_url)
    (store,) = (path for path in (directory / "cache" / "models").iterdir() if path.name != "passed")
    return Known(directory / "cache", store, uris)


@pytest.mark.parametrize("name", FRONTS)
def test_the_model_in_the_cache_serves(known: Known, name: str) -> None:
    with front(FRONTS[name]) as url:
        # As if the MLflow had been at this address.
        store = hashlib.sha256(url.encode()).hexdigest()[:12]
        (known.cache / "models" / store).symlink_to(known.store)
        for uri in known.uris:
            assert resolve_or_last_good(uri, cache_directory=known.cache, tracking_uri=url).name.startswith("front")


@pytest.mark.parametrize("name", FRONTS)
def test_without_one_it_is_waited_for(tmp_path: Path, name: str) -> None:
    with front(FRONTS[name]) as url:
        for uri in ("models:/front@champion", "models:/front/1", f"runs:/{'0' * 32}/model"):
            with pytest.raises(DependencyDownError) as caught:
                resolve_or_last_good(uri, cache_directory=tmp_path, tracking_uri=url)
            assert caught.value.dependency == "mlflow"
            assert url in str(caught.value)


def test_the_reason_names_status_and_suspicion(tmp_path: Path) -> None:
    with front(FRONTS["a 401 of a proxy"]) as url, pytest.raises(DependencyDownError) as caught:
        resolve("models:/front@champion", cache_directory=tmp_path, tracking_uri=url)
    assert "HTTP status 401 without an error message of MLflow" in str(caught.value)
    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value)


def drip(beginning: bytes, piece: bytes) -> Answer:
    """An answer that never ends, and never pauses for long."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(beginning)
            while True:
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    return answer


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"", b"x"),
    ],
)
def test_an_answer_that_never_ends_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_WITHIN_S", 0.5)
    started = time.monotonic()
    with front(drip(beginning, piece)) as url, pytest.raises(DependencyDownError, match="no complete response within"):
        resolve("models:/front@champion", cache_directory=tmp_path, tracking_uri=url)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
    ],
)
def test_a_store_in_s3_that_never_ends_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_url: str, beginning: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "FILE_WITHIN_S", 0.5)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    started = time.monotonic()
    with front(drip(beginning, b" ")) as url:
        monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", url)
        with pytest.raises(DependencyDownError, match="no complete response within"):
            download("s3://models/battery", str(tmp_path), mlflow_url)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("closed", [True, False])
def test_an_answer_that_nobody_reads_is_let_go_of(closed: bool) -> None:
    def held() -> tuple[int, int]:
        timers = sum(isinstance(thread, threading.Timer) for thread in threading.enumerate())
        return timers, len(list(Path("/proc/self/fd").iterdir()))

    with front(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")) as url:
        before = held()
        session = requests.Session()
        session.mount("http://", bounded_http.BoundedAdapter())
        answer = session.get(url, stream=True, timeout=10)
        assert held()[0] == before[0] + 1
        if closed:
            answer.close()
        else:
            del answer
            session.close()
        wait_until(lambda: held()[0] == before[0], "the timer is gone", 10)


def test_an_answer_of_megabytes_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_MAX_BYTES", 100_000)
    huge = plain(200, b'{"a": "' + b"x" * 1_000_000 + b'"}', "application/json")
    with front(huge) as url, pytest.raises(DependencyDownError, match="more than 100000 bytes"):
        resolve("models:/front@champion", cache_directory=tmp_path, tracking_uri=url)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("booster.ubj", b"\n<!DOCTYPE html><title>Sign in</title>"),
        ("manifest.json", b"<html>404</html>"),
        ("manifest.json", b""),
        ("manifest.json", b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'),
    ],
)
def test_a_page_in_place_of_a_file_is_an_outage(model_package: Path, tmp_path: Path, name: str, content: bytes) -> None:
    fetched = Path(shutil.copytree(model_package, tmp_path / "fetched"))
    require_no_page(fetched, "http://store/model")
    (fetched / name).write_bytes(content)
    with pytest.raises(DependencyDownError, match=f"came in place of {name}"):
        require_no_page(fetched, "http://store/model")
