"""The real reason why a broker cannot be reached, and what to do, on a real broker with TLS and SASL."""

from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

import producers.kafka_publisher
import worker.kafka.topic_reader
from common.errors import DependencyDownError, UserError
from local.isolated_pipeline import isolated_pipeline
from producers.kafka_publisher import ReadingPublisher
from tests.harness import Stage, wait_until
from tests.secured_broker import PASSWORD, Secured
from worker.kafka.client_config import admin_client, client_config, error_text, topic_partitions
from worker.kafka.topic_reader import TopicReader

FAULTS: dict[str, tuple[Callable[[Secured], dict[str, str]], tuple[str, ...]]] = {
    "untrusted CA": (
        lambda s: s.tls(ca=s.other_ca),
        ("{TLS}", "certificate: unable to get local issuer certificate", "set KAFKA_SSL_CA_LOCATION", "other-ca.pem"),
    ),
    "expired certificate": (lambda s: s.tls("EXPIRED"), ("{EXPIRED}", "certificate has expired", "renew it")),
    "wrong host name": (
        lambda s: s.tls(host="localhost"),
        ("localhost:", "not valid for 'localhost'", "an address that the certificate names"),
    ),
    "plaintext client, TLS port": (
        lambda s: {"KAFKA_BOOTSTRAP_SERVERS": s.at("TLS")},
        ("{TLS}", "closed by peer", "set KAFKA_SECURITY_PROTOCOL=SSL"),
    ),
    "TLS client, plaintext port": (
        lambda s: s.tls() | {"KAFKA_BOOTSTRAP_SERVERS": s.plaintext},
        ("connecting to a PLAINTEXT broker listener", "set KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
    ),
    "no client certificate": (
        lambda s: s.tls("MUTUAL"),
        ("{MUTUAL}", "bad certificate", "set KAFKA_SSL_CERTIFICATE_LOCATION"),
    ),
    "wrong password": (
        lambda s: s.sasl("worker", "wrong"),
        ("{SASL}", "Invalid username or password", "check KAFKA_SASL_USERNAME"),
    ),
    "mechanism not enabled": (
        lambda s: s.sasl("worker", mechanism="SCRAM-SHA-256"),
        ("{SASL}", "SCRAM-SHA-256", "supported mechanisms: PLAIN", "set KAFKA_SASL_MECHANISM"),
    ),
    "SASL client, plain port": (
        lambda s: s.sasl("worker") | {"KAFKA_BOOTSTRAP_SERVERS": s.plaintext},
        ("not valid in current SASL state", "this listener has no SASL"),
    ),
    "plain client, SASL port": (
        lambda s: {"KAFKA_BOOTSTRAP_SERVERS": s.at("SASL")},
        ("{SASL}", "closed by peer", "set KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"),
    ),
    "unknown host": (
        lambda _: {"KAFKA_BOOTSTRAP_SERVERS": "nosuch.invalid:9092"},
        ("nosuch.invalid:9092", "Failed to resolve", "correct the host name"),
    ),
    "closed port": (
        lambda _: {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        ("127.0.0.1:1: Connection refused", "start the broker"),
    ),
}


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_cause_is_reported_with_address_and_fix(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    environment, told = FAULTS[fault]
    use(monkeypatch, environment(secured))
    admin = admin_client(client_config())
    with pytest.raises(DependencyDownError) as failed:
        topic_partitions(admin, 0.8)
    for words in told:
        assert words.format(**{name: f"127.0.0.1:{port}" for name, port in secured.ports.items()}) in str(failed.value)
    assert "Broker transport failure" not in str(failed.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"KAFKA_SASL_MECHANISM": "FOO"}, "Unsupported SASL mechanism: FOO"),
        (
            {"KAFKA_SSL_CA_LOCATION": "/nowhere.pem", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
            "/nowhere.pem: the file does not exist",
        ),
        ({"KAFKA_BOOTSTRAP_SERVERS": f"worker:{PASSWORD}@127.0.0.1:1"}, "must not hold a user and password"),
        ({"KAFKA_BOOTSTRAP_SERVERS": f"SASL_SSL://worker:{PASSWORD}@127.0.0.1:1"}, "must not hold a user and password"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "SASL_SSL://127.0.0.1:1"}, "set KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
    ],
)
def test_what_cannot_be_used_is_reported_before_anything_is_tried(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], told: str
) -> None:
    use(monkeypatch, secured.sasl("worker") | change)
    with pytest.raises(UserError) as refused:
        admin_client(client_config())
    assert told in str(refused.value)
    assert PASSWORD not in str(refused.value)


def test_readers_and_producers_tell_it_too(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, secured.sasl("worker", "wrong"))
    monkeypatch.setattr(worker.kafka.topic_reader, "_TIMEOUT_S", 1.0)
    monkeypatch.setattr(producers.kafka_publisher, "START_WAIT_S", 1.0)
    with TopicReader(client_config()) as reader, pytest.raises(DependencyDownError, match="Invalid username or pass"):
        reader.spans("any")
    with pytest.raises(DependencyDownError, match="Invalid username or password"):
        ReadingPublisher("any")


def test_a_worker_reports_it_in_ready_and_in_few_lines_of_its_log(
    secured: Secured, tmp_path: Path, model_package: Path, unique_name: str
) -> None:
    stage = Stage(secured.at("SASL"), isolated_pipeline(unique_name, tmp_path), tmp_path, model_package)
    stage.environment = secured.sasl("worker", "wrong")
    with stage.worker() as running:
        running.await_reason("Invalid username or password", "waiting for broker")
        assert "Invalid username or password" in running.answer("/health").text
        wait_until(lambda: running.metric("hazardstream_dependency_waits_total") >= 2, "tried again")
    lines = running.log.read_text().splitlines()
    assert sum("Invalid username or password" in line for line in lines) <= 4


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        (KafkaError.OFFSET_METADATA_TOO_LARGE, "offset.metadata.max.bytes"),
        (KafkaError.INVALID_TRANSACTION_TIMEOUT, "HAZARDSTREAM_TRANSACTION_TIMEOUT_MS"),
        (KafkaError.INVALID_TIMESTAMP, "this machine's clock"),
    ],
)
def test_limits_of_the_broker_are_reported_with_their_setting(code: int, cure: str) -> None:
    assert cure in error_text(KafkaException(KafkaError(code, "refused")))
