"""The registry client against servers that misbehave, and its caches."""

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from common.errors import DependencyDownError, UserError
from schemas.access import Access
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError
from schemas.registry import (
    SCHEMAS_KEPT,
    UNKNOWN_IDS_KEPT,
    SchemaRegistry,
    registry_from_environment,
    writer_schema_lookup,
)
from schemas.registry_client import RETRIES
from schemas.wire import ConfluentId, fingerprint
from tests.flagship import KNOWN_SCHEMAS, flagship_schema
from tests.http_server import HttpServer

READING = flagship_schema("SensorReading")

KNOWN = {"schema": json.dumps(READING)}
UNKNOWN = {"error_code": 40403, "message": "Schema 7 not found"}


def test_a_known_schema_is_asked_for_once(server: HttpServer) -> None:
    server.always(200, KNOWN)
    registry = SchemaRegistry(server.url)
    assert registry.schema_of(ConfluentId(7)) is registry.schema_of(ConfluentId(7))
    assert [request.path for request in server.requests] == ["/schemas/ids/7"]


def test_an_unknown_id_is_asked_for_again_only_after_a_while(server: HttpServer) -> None:
    now_s = 100.0
    server.always(404, UNKNOWN)
    registry = SchemaRegistry(server.url, unknown_ttl_s=10, clock=lambda: now_s)
    for _ in range(1000):
        with pytest.raises(UnknownSchemaError, match="Schema 7 not found"):
            registry.schema_of(ConfluentId(7))
    assert len(server.requests) == 1
    server.always(200, KNOWN)
    now_s = 109.9
    with pytest.raises(UnknownSchemaError):
        registry.schema_of(ConfluentId(7))
    now_s = 110.1
    assert registry.schema_of(ConfluentId(7)) == READING


@pytest.mark.slow  # thousands of schemas
def test_a_flood_of_unknown_ids_neither_hammers_the_registry_nor_hides_a_new_schema(server: HttpServer) -> None:
    now_s = 100.0
    server.answer = lambda request: (
        (200, KNOWN) if request.path in ("/schemas/ids/7", "/schemas/ids/8") else (404, UNKNOWN)
    )
    registry = SchemaRegistry(server.url, unknown_ttl_s=10, clock=lambda: now_s)
    assert registry.schema_of(ConfluentId(7)) == READING
    for i in range(3 * UNKNOWN_IDS_KEPT):
        with pytest.raises(UnknownSchemaError):
            registry.schema_of(ConfluentId(1_000_000 + i))
    assert len(server.requests) == 1 + UNKNOWN_IDS_KEPT
    assert registry.schema_of(ConfluentId(8)) == READING  # registered meanwhile: ids count up
    with pytest.raises(UnknownSchemaError, match="was not asked for registry id 2000000"):
        registry.schema_of(ConfluentId(2_000_000))
    now_s = 111.0
    with pytest.raises(UnknownSchemaError, match="Schema 7 not found"):
        registry.schema_of(ConfluentId(2_000_000))


@pytest.mark.slow  # thousands of schemas
def test_a_schema_registered_for_every_message_fills_no_memory(server: HttpServer) -> None:
    server.always(200, KNOWN)
    registry = SchemaRegistry(server.url)
    for i in range(SCHEMAS_KEPT + 10):
        registry.schema_of(ConfluentId(i))
    assert len(registry._known) <= SCHEMAS_KEPT


def test_a_schema_nested_beyond_measure_is_incompatible_and_looked_at_once(server: HttpServer) -> None:
    server.always(200, {"schema": '{"type":' * 100_000 + '"int"' + "}" * 100_000})
    registry = SchemaRegistry(server.url)
    for _ in range(3):
        with pytest.raises(IncompatibleSchemaError, match="is not JSON"):
            registry.schema_of(ConfluentId(7))
    assert len(server.requests) == 1


def test_an_id_no_registry_can_have_is_not_asked_for(server: HttpServer) -> None:
    with pytest.raises(UnknownSchemaError, match="cannot be a registry id"):
        SchemaRegistry(server.url).schema_of(ConfluentId(2**32 - 1))
    assert server.requests == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_in_trouble_is_asked_a_few_times_and_then_down(server: HttpServer, status: int) -> None:
    server.always(status, {"error_code": status * 100 + 1, "message": "leader election"})
    with pytest.raises(DependencyDownError, match="leader election") as caught:
        SchemaRegistry(server.url).schema_of(ConfluentId(7))
    assert caught.value.dependency == "schema registry"
    assert len(server.requests) == 1 + RETRIES


def test_a_registry_that_recovers_between_two_tries_is_not_down(server: HttpServer) -> None:
    server.answer = lambda _: (200, KNOWN) if len(server.requests) > 1 else (503, {})
    assert SchemaRegistry(server.url).schema_of(ConfluentId(7)) == READING


def test_trouble_is_not_remembered(server: HttpServer) -> None:
    registry = SchemaRegistry(server.url)
    with pytest.raises(DependencyDownError):
        registry.schema_of(ConfluentId(7))
    server.always(200, KNOWN)
    assert registry.schema_of(ConfluentId(7)) == READING


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_lose_no_record_and_say_what_to_check(server: HttpServer, status: int) -> None:
    server.always(status, {"error_code": status, "message": "no entry"})
    with pytest.raises(DependencyDownError, match="SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))


@pytest.mark.parametrize("body", [b"<html>Not Found</html>", b"", {"status": 404}])
def test_a_404_that_is_not_the_registrys_own_is_not_believed(server: HttpServer, body: Any) -> None:
    server.always(404, body)
    with pytest.raises(DependencyDownError, match="SCHEMA_REGISTRY_URL"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"", b"[]", {}, {"schema": None}, {"schema": 5}])
def test_a_200_that_holds_no_schema_is_not_believed(server: HttpServer, body: Any) -> None:
    server.always(200, body)
    registry = SchemaRegistry(server.url)
    with pytest.raises(DependencyDownError):
        registry.schema_of(ConfluentId(7))
    server.always(200, KNOWN)
    assert registry.schema_of(ConfluentId(7)) == READING


@pytest.mark.parametrize("text", ["{", '"string"', "7", "null"])
def test_a_schema_that_is_no_record_is_incompatible(server: HttpServer, text: str) -> None:
    server.always(200, {"schema": text})
    with pytest.raises(IncompatibleSchemaError, match="the schema with registry id 7"):
        SchemaRegistry(server.url).schema_of(ConfluentId(7))


def test_a_reference_that_cannot_be_found_is_an_unknown_schema_and_is_remembered(server: HttpServer) -> None:
    pointing = {**KNOWN, "references": [{"name": "x.Place", "subject": "places", "version": 3}]}
    missing = {"error_code": 40402, "message": "Version 3 not found"}
    server.answer = lambda request: (200, pointing) if request.path.startswith("/schemas") else (404, missing)
    registry = SchemaRegistry(server.url)
    for _ in range(3):
        with pytest.raises(UnknownSchemaError, match="Version 3"):
            registry.schema_of(ConfluentId(7))
    assert len(server.requests) == 2


def test_a_registry_that_is_not_there_is_down() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(DependencyDownError, match="does not answer"):
            SchemaRegistry(f"http://127.0.0.1:{taken.getsockname()[1]}").schema_of(ConfluentId(7))


def test_a_registry_that_does_not_answer_in_time_is_down(server: HttpServer) -> None:
    release = threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> tuple[int, Any]:
        release.wait(20)
        return 200, KNOWN

    server.answer = hang
    try:
        with pytest.raises(DependencyDownError, match=r"(?i)timeout"):
            SchemaRegistry(server.url, timeout_s=0.1).schema_of(ConfluentId(7))
    finally:
        release.set()


def test_credentials_are_sent_and_shown_nowhere(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.always(401, {"error_code": 40101, "message": "no entry"})
    registry = SchemaRegistry(server.url, access=Access({"BASIC_AUTH_USER_INFO": "worker:hush-hush"}))
    with pytest.raises(DependencyDownError) as caught:
        registry.schema_of(ConfluentId(7))
    assert server.requests[0].headers["Authorization"] == "Basic d29ya2VyOmh1c2gtaHVzaA=="
    for shown in (repr(registry), str(caught.value), caplog.text):
        assert "hush" not in shown
        assert "d29ya2Vy" not in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://me:secret@registry:8081", "SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO"),
        ("registry:8081", "SCHEMA_REGISTRY_URL"),
        ("http://registry:port", "SCHEMA_REGISTRY_URL"),
        ("http://", "SCHEMA_REGISTRY_URL"),
        (" , ", "SCHEMA_REGISTRY_URL"),
    ],
)
def test_an_address_that_cannot_work_is_answered_with_the_setting_to_change(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        SchemaRegistry(url)
    assert "secret" not in str(caught.value)


def test_credentials_come_from_the_environment_or_from_a_file_it_names(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.always(200, KNOWN)
    monkeypatch.setenv("SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO", "worker:hush-hush")
    registry_from_environment(server.url).schema_of(ConfluentId(7))
    secret = tmp_path / "user-info"
    secret.write_text("worker:other\n")
    monkeypatch.setenv("SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO_FILE", str(secret))
    registry_from_environment(server.url).schema_of(ConfluentId(7))
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == ["Basic d29ya2VyOmh1c2gtaHVzaA==", "Basic d29ya2VyOm90aGVy"]


def test_empty_settings_are_as_good_as_none(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.always(200, KNOWN)
    for name in ("BASIC_AUTH_USER_INFO", "BASIC_AUTH_USER_INFO_FILE", "SSL_CA_LOCATION"):
        monkeypatch.setenv(f"SCHEMA_REGISTRY_{name}", "")
    registry_from_environment(server.url).schema_of(ConfluentId(7))
    assert "Authorization" not in server.requests[0].headers


def test_a_file_of_credentials_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO_FILE", "/no/such/file")
    with pytest.raises(UserError, match="/no/such/file"):
        registry_from_environment("http://registry:8081")


def test_without_a_registry_ids_are_unknown_and_fingerprints_are_found() -> None:
    writer_schema_of = writer_schema_lookup(None, KNOWN_SCHEMAS)
    assert writer_schema_of(fingerprint(READING)) == READING
    with pytest.raises(UnknownSchemaError, match="set SCHEMA_REGISTRY_URL"):
        writer_schema_of(ConfluentId(7))
