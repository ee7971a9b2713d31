"""A registry, or what stands in its place, that answers slowly, hugely or with anything but a schema."""

import gzip
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from common.errors import DependencyDownError
from schemas.access import Access
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.http import Budget, NoAnswerError, request
from schemas.registry import SchemaRegistry
from schemas.wire import ApicurioId, ConfluentId, Guid
from tests.flagship import flagship_schema
from tests.http_server import HttpServer

pytestmark = pytest.mark.slow  # waits for deadlines

READING = flagship_schema("SensorReading")
KNOWN = {"schema": json.dumps(READING)}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def dripping(sent_first: bytes, drip: bytes, every_s: float) -> Iterator[str]:
    """A server that answers every request with these bytes, and then goes on with a few at a time."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(sent_first)
            while not stop.wait(every_s):
                connection.sendall(drip)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop.set()
    listener.close()


@pytest.mark.parametrize(
    ("sent_first", "drip"),
    [
        (b"", b"H"),  # a status line that never ends
        (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (ANSWER, b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),  # its end is where the connection ends, and that is cut here
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"),
    ],
)
def test_an_answer_that_drips_ends_at_the_deadline_of_the_whole_question(sent_first: bytes, drip: bytes) -> None:
    with dripping(sent_first, drip, 0.05) as url:
        started = time.monotonic()
        with pytest.raises(DependencyDownError, match="timeout"):
            SchemaRegistry(url, timeout_s=0.6).schema_of(ConfluentId(7))
        assert time.monotonic() - started < 5


def test_a_tls_handshake_that_drips_ends_at_the_deadline(server: HttpServer) -> None:
    with dripping(b"\x16\x03\x03\x40\x00", b"\x00", 0.05) as url:
        started = time.monotonic()
        with pytest.raises(DependencyDownError, match=r"timeout|does not answer"):
            SchemaRegistry(url.replace("http:", "https:"), timeout_s=0.5).schema_of(ConfluentId(7))
        assert time.monotonic() - started < 5


def test_no_thread_and_no_connection_outlives_the_deadline_by_much() -> None:
    with dripping(ANSWER, b" ", 0.02) as url:
        registry = SchemaRegistry(url, timeout_s=0.3, patience_s=0.05)
        for schema_id in range(5):
            with pytest.raises(DependencyDownError):
                registry.schema_of(ConfluentId(schema_id))
        deadline = time.monotonic() + 20
        while any(t.name == "schema-registry" for t in threading.enumerate()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [t for t in threading.enumerate() if t.name == "schema-registry"]


def test_the_caller_waits_no_longer_than_its_patience_and_finds_the_answer_later(server: HttpServer) -> None:
    release = threading.Event()

    def slow(_: BaseHTTPRequestHandler) -> tuple[int, Any]:
        release.wait(20)
        return 200, KNOWN

    server.answer = slow
    registry = SchemaRegistry(server.url, timeout_s=60, patience_s=0.05)
    for _ in range(3):
        with pytest.raises(DependencyDownError, match=r"within 0\.05 s"):
            registry.schema_of(ConfluentId(7))
    release.set()
    deadline = time.monotonic() + 20
    found = None
    while found is None and time.monotonic() < deadline:
        with suppress(DependencyDownError):
            found = registry.schema_of(ConfluentId(7))
    assert found == READING
    assert len(server.requests) == 1


def test_one_address_that_swallows_packets_leaves_time_for_the_next(server: HttpServer) -> None:
    server.always(200, KNOWN)
    with dripping(b"", b"", 60) as silent:
        registry = SchemaRegistry(f"{silent},{server.url}", timeout_s=6)
        assert registry.schema_of(ConfluentId(7)) == READING
        started = time.monotonic()
        assert registry.schema_of(ConfluentId(8)) == READING  # the one that answered comes first now
        assert time.monotonic() - started < 0.9


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_of_200_mb_costs_no_more_than_its_limit(declared: bool) -> None:
    header = ANSWER.replace(b"1000000", b"200000000") if declared else b"HTTP/1.1 200 OK\r\n\r\n"
    with dripping(header + b'{"schema": "', b"x" * 1_000_000, 0.0) as url:
        tracemalloc.start()
        with pytest.raises(IncompatibleSchemaError, match="larger than 2000000 bytes"):
            SchemaRegistry(url).schema_of(ConfluentId(7))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 30_000_000


def test_a_huge_answer_that_is_no_json_is_an_outage() -> None:
    huge = dripping(b"HTTP/1.1 200 OK\r\n\r\n<html>", b"x" * 1_000_000, 0.0)
    with huge as url, pytest.raises(DependencyDownError, match="not JSON"):
        SchemaRegistry(url).schema_of(ConfluentId(7))


def test_a_gzip_bomb_is_not_inflated(server: HttpServer) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    server.always(200, gzip.compress(bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(DependencyDownError, match="compressed"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_redirect_is_not_followed_and_takes_no_credentials_along(server: HttpServer) -> None:
    elsewhere = HttpServer()
    elsewhere.always(200, KNOWN)
    server.headers = {"Location": f"{elsewhere.url}/schemas/ids/7"}
    server.always(302, b"")
    with pytest.raises(DependencyDownError, match=r"redirect to .*set SCHEMA_REGISTRY_URL to the final address"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))
    assert elsewhere.requests == []
    elsewhere.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),  # an unknown path, says the registry's web server
        (404, {"error_code": "404", "message": "no route"}),
        (404, b"default backend - 404"),
        (404, b"[]"),
        (409, b"conflict"),
        (422, {"detail": "a firewall's"}),
        (200, b"<html>Sign in</html>"),
        (200, b""),
        (204, b""),
        (404, {"error_code": [40403]}),
        (404, {"error_code": {"code": 40403}}),
        (200, {"schema": "[]", "references": [{"name": "x", "subject": "\ud800", "version": 1}]}),
        (200, {"schema": "[]", "references": [{"name": "x", "subject": "x", "version": 1e999}]}),
        (200, b'"text"'),
        (200, {"schema": "[]", "references": 5}),
        (200, {"schema": "[]", "references": [{"name": "x"}]}),
        (407, b""),
    ],
)
def test_what_is_not_the_registrys_own_word_is_an_outage(server: HttpServer, status: int, body: Any) -> None:
    server.always(status, body)
    with pytest.raises(DependencyDownError):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))


@pytest.mark.parametrize("listed", [["x"], [5], [None]])
def test_references_of_no_known_form_are_an_outage_in_apicurio_too(server: HttpServer, listed: list[Any]) -> None:
    server.answer = lambda request: (200, listed if request.path.endswith("/references") else READING)
    registry = SchemaRegistry(f"{server.url}/apis/ccompat/v7")
    with pytest.raises(DependencyDownError):
        registry.schema_of(ApicurioId("globalId", 7))


@pytest.mark.parametrize("place", ["http://[x", "http://a]b/"])
def test_a_redirect_to_what_is_no_url_is_an_outage(server: HttpServer, place: str) -> None:
    server.headers = {"Location": place}
    server.always(302, b"")
    with pytest.raises(DependencyDownError, match="a redirect"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))


def test_a_connection_that_comes_after_the_deadline_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address of a name has the whole timeout to itself, so that several cost more than the deadline."""
    connect = socket.create_connection

    def late(*args: Any, **options: Any) -> socket.socket:
        time.sleep(1.0)
        return connect(*args, **options)

    with dripping(ANSWER, b" ", 0.05) as url:
        monkeypatch.setattr(socket, "create_connection", late)
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match="timeout"):
            request("GET", url, headers={}, content=None, tls=Access().tls, budget=Budget(0.3, 10**7, 10**7))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("newest", [["null", READING], {"type": "record", "name": "X", "fields": 5}, "Unknown"])
def test_a_newest_schema_that_is_none_of_our_records_is_another_schema(server: HttpServer, newest: Any) -> None:
    found = {"id": 7, "schema": json.dumps(newest if isinstance(newest, dict | list) else {"type": newest})}
    missing = (404, {"error_code": 40403, "message": "Schema not found"})
    server.answer = lambda request: (200, found) if request.path.endswith("/latest") else missing
    with pytest.raises(DependencyDownError, match="does not allow to register"):
        SchemaRegistry(server.url, auto_register=False).register("out-value", READING)


def test_a_guid_is_looked_up_where_the_registry_can_and_unknown_where_it_cannot(server: HttpServer) -> None:
    guid = Guid(bytes.fromhex("89f0a5cb2b4e4b0c8b1c1d1d1d1d1d1d"))
    path = "/schemas/guids/89f0a5cb-2b4e-4b0c-8b1c-1d1d1d1d1d1d"
    server.answer = lambda request: (200, KNOWN) if request.path == path else (404, b"")
    assert SchemaRegistry(server.url).schema_of(guid) == READING
    server.answer = lambda request: (200, ["AVRO"]) if request.path == "/schemas/types" else (404, b"")
    with pytest.raises(UnknownSchemaError, match="cannot look up GUIDs"):
        SchemaRegistry(server.url).schema_of(guid)
    server.always(404, b"")  # an ingress without its registry
    with pytest.raises(DependencyDownError):
        SchemaRegistry(server.url).schema_of(guid)


def test_the_thread_of_a_question_never_shows_its_failure_but_where_it_is_asked_for(server: HttpServer) -> None:
    server.always(500, b"")
    registry = SchemaRegistry(server.url, patience_s=0.0)
    with pytest.raises(DependencyDownError, match="has not answered"):
        registry.schema_of(ConfluentId(7))
