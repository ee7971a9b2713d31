"""The sidecar under malicious connections: probes are answered whatever else is connected."""

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

import worker.http.server
from common.errors import UserError
from tests.harness import wait_until
from worker.http.server import connection_limit
from worker.http.sidecar import sidecar
from worker.observe.loop_questions import LoopQuestions
from worker.observe.metrics import Metrics
from worker.observe.worker_status import Status

pytestmark = pytest.mark.slow  # waits for deadlines

PROBE_WITHIN_S = 5.0  # on a loaded machine; Kubernetes waits for 1 s by default


@pytest.fixture
def port() -> Iterator[int]:
    status = Status(Metrics(), "p", "i", "exactly_once")
    status.phase = "running"  # questions to the loop are waited for; there is none here to answer
    server = sidecar(status, LoopQuestions(), "127.0.0.1", 0, "worker.example")
    yield server.start()
    server.stop()


def probe(port: int, path: str = "/live", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PROBE_WITHIN_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PROBE_WITHIN_S)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed, whatever it sent before that."""
    connection.settimeout(0)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def idle(_: socket.socket) -> None:
    pass


def half_a_header(connection: socket.socket) -> None:
    connection.sendall(b"GET /live HTTP/1.1\r\nHost: localh")


def half_a_body(connection: socket.socket) -> None:
    connection.sendall(b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")


def answered_and_kept(connection: socket.socket) -> None:
    connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")


def answered_and_unread(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")


def pipelined(connection: socket.socket) -> None:
    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)


def nonsense(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"\x16\x03\x01\x00\xff" + bytes(range(256)) * 8)


def endless_header(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)


def endless_url(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"GET /" + b"x" * 1_000_000)


def waits_for_the_loop(connection: socket.socket) -> None:
    connection.sendall(b"GET /keys/a HTTP/1.1\r\nHost: localhost\r\n\r\n")


HOSTILE = [
    idle,
    half_a_header,
    half_a_body,
    answered_and_kept,
    answered_and_unread,
    pipelined,
    nonsense,
    endless_header,
    endless_url,
    waits_for_the_loop,
]


@pytest.mark.parametrize("begin", HOSTILE)
def test_probes_are_answered_whatever_else_is_connected(port: int, begin: Callable[[socket.socket], None]) -> None:
    with contextlib.ExitStack() as held:
        for number in range(400):
            begin(held.enter_context(connect(port)))
            if number % 100 == 99:
                assert probe(port)[0] == 200
        for path, expected in {"/live": 200, "/ready": 503, "/metrics": 200}.items():
            assert probe(port, path)[0] == expected


@pytest.mark.slow  # thousands of connections
def test_a_probe_among_thousands_of_connections_at_once(port: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = min(hard, 6000) if hard != resource.RLIM_INFINITY else 6000
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, room), hard))
    try:
        many = min(5000, max(soft, room) - 1000)
        with contextlib.ExitStack() as held:
            for number in range(many):
                held.enter_context(connect(port))
                if number % 1000 == 999:
                    assert probe(port)[0] == 200
            assert probe(port)[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow  # thousands of connections
def test_probes_are_answered_while_connections_come_without_end(port: int) -> None:
    stop = threading.Event()

    def flood() -> None:
        held: list[socket.socket] = []
        while not stop.is_set():
            with contextlib.suppress(OSError):
                held.append(connect(port))
                held[-1].sendall(b"GET /metrics HTTP/1.1\r\n")
            if len(held) > 300:
                held.pop(0).close()
        for connection in held:
            connection.close()

    floods = [threading.Thread(target=flood, daemon=True) for _ in range(3)]
    for thread in floods:
        thread.start()
    try:
        for _ in range(20):
            assert probe(port)[0] == 200
    finally:
        stop.set()
        for thread in floods:
            thread.join()


@pytest.mark.parametrize("begin", [idle, half_a_header, half_a_body, answered_and_unread, waits_for_the_loop])
def test_every_connection_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, port: int, begin: Callable[[socket.socket], None]
) -> None:
    monkeypatch.setattr(worker.http.server, "REQUEST_S", 0.5)
    with connect(port) as connection:
        begin(connection)
        wait_until(lambda: is_closed(connection), "the connection is closed")


def test_a_header_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(worker.http.server, "REQUEST_S", 0.5)
    with connect(port) as connection, contextlib.suppress(OSError):
        begun = time.monotonic()
        for byte in b"GET /live HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
            assert time.monotonic() - begun < 15
    assert probe(port)[0] == 200


def test_connections_of_one_client_do_not_push_out_those_of_others(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    with contextlib.ExitStack() as held:
        other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        held.enter_context(other)
        for _ in range(600):
            held.enter_context(connect(port))
        assert probe(port)[0] == 200
        other.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        other.settimeout(PROBE_WITHIN_S)
        assert other.recv(100).startswith(b"HTTP/1.1 200")


def test_few_descriptors_leave_room_for_the_rest_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert connection_limit() == 64
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_000_000, 1_000_000))
    assert connection_limit() == 256


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "10.1.2.3:8080",
        "[::1]:8080",
        "[fd00::7]",
        "worker.example",
        f"{socket.gethostname()}:80",
    ],
)
def test_hosts_of_its_own_are_answered_to(port: int, host: str) -> None:
    assert probe(port, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "[", "", "a b", "*"],
)
def test_other_hosts_are_refused_with_the_remedy(port: int, host: str) -> None:
    for path in ("/live", "/health", "/docs", "/nowhere"):
        status, headers, body = probe(port, path, Host=host)
        assert status == 421
        assert b"HAZARDSTREAM_HTTP_ALLOWED_HOSTS" in body
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics", "/docs", "/openapi.json", "/keys/a", "/nowhere"])
def test_every_answer_carries_the_headers_that_browsers_heed(port: int, path: str) -> None:
    _, headers, _ = probe(port, path)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_an_unavailable_address_is_reported_with_the_reason(port: int) -> None:
    status = Status(Metrics(), "p", "i", "exactly_once")
    for host, taken, reason in (
        ("127.0.0.1", port, "in use"),
        ("no-such-host.invalid", 0, "no-such-host.invalid"),
        ("203.0.113.7", 0, "assign"),
    ):
        with pytest.raises(UserError, match=f"cannot listen on .*{reason}"):
            sidecar(status, LoopQuestions(), host, taken).start()
