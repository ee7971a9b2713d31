"""Accounts of every kind at the registry: read-only, basic, bearer, OAuth, mutual TLS."""

import json
import logging
import ssl
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.errors import DependencyDownError, UserError
from schemas.access import Access
from schemas.errors import IncompatibleSchemaError
from schemas.registry import SchemaRegistry, registry_from_environment
from schemas.wire import ConfluentId
from tests.flagship import flagship_schema
from tests.http_server import HttpServer

READING = flagship_schema("SensorReading")
KNOWN = {"schema": json.dumps(READING)}
NO_SUBJECT = {"error_code": 40401, "message": "Subject 'x-value' not found."}
NO_SCHEMA = {"error_code": 40403, "message": "Schema not found"}
DENIED = {"error_code": 40301, "message": "User is denied operation Write on Subject: x-value"}


def paths(server: HttpServer) -> list[str]:
    return [f"{request.command} {request.path}" for request in server.requests]


@pytest.mark.registry
def test_a_schema_that_is_there_is_found_by_an_account_that_may_only_read(registry: str, unique_name: str) -> None:
    schema_id = SchemaRegistry(registry).register(unique_name, READING)
    assert SchemaRegistry(registry, auto_register=False).register(unique_name, READING) == schema_id


@pytest.mark.registry
def test_what_is_missing_is_not_registered_where_that_is_forbidden(registry: str, unique_name: str) -> None:
    reader = SchemaRegistry(registry, auto_register=False)
    with pytest.raises(DependencyDownError) as caught:
        reader.register(unique_name, READING)
    for words in (unique_name, "SCHEMA_REGISTRY_AUTO_REGISTER=false", "SensorReading.avsc"):
        assert words in str(caught.value)
    assert reader.latest(unique_name) is None


@pytest.mark.registry
def test_a_schema_that_an_administrator_registered_without_docs_will_do(registry: str, unique_name: str) -> None:
    plain = {**READING, "fields": [{k: v for k, v in f.items() if k != "doc"} for f in READING["fields"]]}
    schema_id = SchemaRegistry(registry).register(unique_name, plain)
    assert SchemaRegistry(registry, auto_register=False).register(unique_name, READING) == schema_id


def test_a_schema_is_looked_up_before_it_is_registered(server: HttpServer) -> None:
    server.always(200, {"id": 7, "version": 1})
    assert SchemaRegistry(server.url).register("x-value", READING) == 7
    assert paths(server) == ["POST /subjects/x-value"]


@pytest.mark.parametrize("missing", [NO_SUBJECT, NO_SCHEMA])
def test_a_client_that_may_not_register_is_reported_with_subject_operation_and_fix(
    server: HttpServer, missing: Any
) -> None:
    server.answer = lambda request: (403, DENIED) if request.path.endswith("versions") else (404, missing)
    with pytest.raises(DependencyDownError) as caught:
        SchemaRegistry(server.url).register("x-value", READING)
    for words in ("register SensorReading under subject 'x-value'", "denied operation Write", "by hand"):
        assert words in str(caught.value)


def test_a_client_that_may_not_look_up_is_reported(server: HttpServer) -> None:
    server.always(403, DENIED)
    with pytest.raises(DependencyDownError, match=r"could not look up SensorReading under subject 'x-value'.*grant"):
        SchemaRegistry(server.url).register("x-value", READING)


def test_a_subject_may_have_any_name(server: HttpServer) -> None:
    server.always(200, {"id": 7})
    SchemaRegistry(server.url).register("a/b c?d", READING)
    assert paths(server) == ["POST /subjects/a%2Fb%20c%3Fd"]


def test_a_registry_that_refuses_a_schema_is_quoted(server: HttpServer) -> None:
    refused = {"error_code": 409, "message": "incompatible with an earlier schema"}
    server.answer = lambda request: (409, refused) if request.path.endswith("versions") else (404, NO_SCHEMA)
    with pytest.raises(IncompatibleSchemaError, match=r"x-value.*incompatible with an earlier schema"):
        SchemaRegistry(server.url).register("x-value", READING)


@pytest.mark.parametrize("value", ["no", "False", "never"])
def test_a_setting_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_AUTO_REGISTER", value)
    with pytest.raises(UserError, match="SCHEMA_REGISTRY_AUTO_REGISTER"):
        registry_from_environment("http://registry:8081")


def test_registering_can_be_forbidden_by_the_environment(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_AUTO_REGISTER", "false")
    server.always(404, NO_SUBJECT)
    with pytest.raises(DependencyDownError, match="does not allow"):
        registry_from_environment(server.url).register("x-value", READING)
    assert not [p for p in paths(server) if p.startswith("POST") and p.endswith("/versions")]


def test_a_token_in_a_file_is_read_again_when_it_was_renewed(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.always(200, KNOWN)
    token = tmp_path / "token"
    monkeypatch.setenv("SCHEMA_REGISTRY_BEARER_AUTH_TOKEN_FILE", str(token))
    monkeypatch.setenv("SCHEMA_REGISTRY_BEARER_AUTH_LOGICAL_CLUSTER", "lsrc-1")
    monkeypatch.setenv("SCHEMA_REGISTRY_BEARER_AUTH_IDENTITY_POOL_ID", "pool-1")
    token.write_text("first\n")
    registry = registry_from_environment(server.url)
    registry.schema_of(ConfluentId(7))
    token.write_text("second\n")
    registry.schema_of(ConfluentId(8))
    assert [r.headers["Authorization"] for r in server.requests] == ["Bearer first", "Bearer second"]
    assert server.requests[0].headers["target-sr-cluster"] == "lsrc-1"
    assert server.requests[0].headers["Confluent-Identity-Pool-Id"] == "pool-1"
    token.unlink()
    with pytest.raises(DependencyDownError, match="BEARER_AUTH_TOKEN_FILE"):  # not the end of a running worker
        registry.schema_of(ConfluentId(9))


def oauth(issuer: HttpServer) -> Access:
    return Access(
        {
            "BEARER_AUTH_CLIENT_ID": "worker",
            "BEARER_AUTH_CLIENT_SECRET": "hush-hush",
            "BEARER_AUTH_SCOPE": "registry",
            "BEARER_AUTH_ISSUER_ENDPOINT_URL": f"{issuer.url}/token",
        }
    )


def test_a_token_is_got_by_client_credentials_kept_and_renewed(server: HttpServer) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if request.path != "/token":
            return 200, KNOWN
        issued = sum(r.path == "/token" for r in server.requests)
        return 200, {"access_token": f"token-{issued}", "token_type": "bearer", "expires_in": 1}

    server.answer = answer
    registry = SchemaRegistry(server.url, access=oauth(server))
    registry.schema_of(ConfluentId(7))
    registry.schema_of(ConfluentId(8))
    time.sleep(0.9)  # more than 80 % of the token's life
    registry.schema_of(ConfluentId(9))
    asked = [r for r in server.requests if r.path == "/token"]
    assert len(asked) == 2
    assert asked[0].headers["Authorization"] == "Basic d29ya2VyOmh1c2gtaHVzaA=="
    assert parse_qs(server.bodies[0].decode()) == {"grant_type": ["client_credentials"], "scope": ["registry"]}
    sent = [r.headers["Authorization"] for r in server.requests if r.path != "/token"]
    assert sent == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


def test_a_token_that_the_registry_refuses_is_not_used_again(server: HttpServer) -> None:
    def answer(request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        if request.path == "/token":
            return 200, {"access_token": f"token-{len(server.requests)}"}
        return (401, {}) if request.headers["Authorization"] == "Bearer token-1" else (200, KNOWN)

    server.answer = answer
    registry = SchemaRegistry(server.url, access=oauth(server))
    with pytest.raises(DependencyDownError, match="BEARER_AUTH_CLIENT_ID"):
        registry.schema_of(ConfluentId(7))
    assert registry.schema_of(ConfluentId(7)) == READING


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"error": "invalid_client"}), (200, b"<html>"), (200, []), (200, {"access_token": None})]
)
def test_an_issuer_that_gives_no_token_is_named_and_no_secret_is_shown(
    server: HttpServer, caplog: pytest.LogCaptureFixture, status: int, body: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    server.always(status, body)
    access = oauth(server)
    with pytest.raises(DependencyDownError, match=f"no token from {server.url}") as caught:
        SchemaRegistry("http://127.0.0.1:9", access=access).schema_of(ConfluentId(7))
    for shown in (repr(access), str(caught.value), caplog.text):
        assert "hush" not in shown
        assert "d29ya2Vy" not in shown


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"BASIC_AUTH_USER_INFO": "secret"}, "BASIC_AUTH_USER_INFO must have the form user:password"),
        ({"SSL_CA_LOCATION": "/no/such/file.pem"}, "SSL_CA_LOCATION=/no/such/file.pem"),
        ({"SSL_KEY_LOCATION": "/key.pem"}, "SSL_CERTIFICATE_LOCATION"),
        ({"SSL_CERTIFICATE_LOCATION": "/no/such.pem"}, "SSL_CERTIFICATE_LOCATION=/no/such.pem"),
        ({"BEARER_AUTH_CLIENT_ID": "secret"}, "BEARER_AUTH_CLIENT_SECRET, SCHEMA_REGISTRY_BEARER_AUTH_ISSUER"),
        ({"BASIC_AUTH_USER_INFO": "a:secret", "BEARER_AUTH_TOKEN": "secret"}, "set only one of them"),
        ({"BEARER_AUTH_TOKEN_FILE": "/no/such/token"}, "BEARER_AUTH_TOKEN_FILE=/no/such/token"),
    ],
)
def test_credentials_that_cannot_work_are_answered_with_the_setting_to_change(
    values: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SCHEMA_REGISTRY_{name}", value)
    with pytest.raises(UserError, match=words) as caught:
        registry_from_environment("http://registry:8081")
    assert "secret" not in str(caught.value)


def certificate(
    directory: Path, name: str, issuer: tuple[Any, Any] | None = None, password: bytes | None = None
) -> Any:
    """Write NAME.pem and NAME.key, signed by the issuer or by itself; gives (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    made = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (directory / f"{name}.pem").write_bytes(made.public_bytes(pem))
    (directory / f"{name}.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, hidden))
    return made, key


def test_a_registry_behind_mutual_tls_is_reached_with_a_certificate_and_not_without(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", authority)
    certificate(tmp_path, "client", authority, password=b"hush-hush")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True, do_handshake_on_connect=False)
    url = server.url.replace("http:", "https:")
    server.always(200, KNOWN)
    with pytest.raises(DependencyDownError, match=r"(?i)certificate"):
        registry_from_environment(url).schema_of(ConfluentId(7))  # nobody knows the authority
    monkeypatch.setenv("SCHEMA_REGISTRY_SSL_CA_LOCATION", str(tmp_path / "authority.pem"))
    with pytest.raises(DependencyDownError):
        registry_from_environment(url).schema_of(ConfluentId(7))  # who are you?
    monkeypatch.setenv("SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION", str(tmp_path / "client.pem"))
    monkeypatch.setenv("SCHEMA_REGISTRY_SSL_KEY_LOCATION", str(tmp_path / "client.key"))
    monkeypatch.setenv("SCHEMA_REGISTRY_SSL_KEY_PASSWORD", "wrong")
    with pytest.raises(UserError, match="SSL_KEY_PASSWORD"):
        registry_from_environment(url)
    (tmp_path / "password").write_text("hush-hush\n")
    monkeypatch.setenv("SCHEMA_REGISTRY_SSL_KEY_PASSWORD_FILE", str(tmp_path / "password"))
    assert registry_from_environment(url).schema_of(ConfluentId(7)) == READING
