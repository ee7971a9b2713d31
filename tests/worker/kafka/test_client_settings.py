"""Properties of Kafka clients: the user's win over our defaults, what our guarantees rest on is refused by name."""

import ctypes
import logging
import re
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, Producer

from common.errors import DependencyDownError, UserError
from common.log_limit import LineLimiter
from common.logs import configure_logs
from common.redaction import _own_secrets, redacted, redacted_property
from worker.kafka.at_least_once import AtLeastOncePublisher
from worker.kafka.client_config import admin_client, client_config, consumer, producer
from worker.kafka.client_property_names import CONSUMER, PRODUCER, SHARED, USUAL_NAMES
from worker.kafka.publisher import TransactionalPublisher
from worker.kafka.topic_reader import TopicReader

UseFile = Callable[[str], None]
NOBODY = "127.0.0.1:1"


@pytest.fixture
def use_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UseFile:
    """Have KAFKA_CONFIG_FILE name a file with this text."""

    def use(text: str) -> None:
        file = tmp_path / "client.properties"
        file.write_text(text)
        monkeypatch.setenv("KAFKA_CONFIG_FILE", str(file))

    return use


MADE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "transactional": lambda config: TransactionalPublisher(config, None, "t", 10_000)._producer,
    "at least once": lambda config: AtLeastOncePublisher(config, None, 10_000)._producer,
    "reader": lambda config: TopicReader(config).consumer,
    "admin": admin_client,
}


def in_force(client: Any, caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """The configuration as librdkafka itself says it (debug=conf), as far as it differs from its own defaults."""
    client.poll(0)
    lines = (re.search(r"\s([\w.]+) = (.*)$", record.getMessage()) for record in caplog.records)
    return {found[1]: found[2] for found in lines if found}


@pytest.mark.parametrize(
    ("kind", "text", "name", "value"),
    [
        ("transactional", "compression.type=zstd", "compression.codec", "zstd"),
        ("transactional", "compression.codec=gzip", "compression.codec", "gzip"),
        ("transactional", "queue.buffering.max.ms=55", "queue.buffering.max.ms", "55"),
        ("at least once", "linger.ms = 55", "queue.buffering.max.ms", "55"),
        ("at least once", "queue.buffering.max.messages=777", "queue.buffering.max.messages", "777"),
        ("reader", "fetch.max.bytes=5000000", "fetch.max.bytes", "5000000"),
        ("reader", "queued.min.messages=77", "queued.min.messages", "77"),
        ("admin", "reconnect.backoff.max.ms=9000", "reconnect.backoff.max.ms", "9000"),
        ("reader", "client.id=ours", "client.id", "ours"),
    ],
)
def test_the_file_wins_over_our_defaults(
    use_file: UseFile, caplog: pytest.LogCaptureFixture, kind: str, text: str, name: str, value: str
) -> None:
    caplog.set_level(logging.DEBUG, "librdkafka")
    use_file(f"debug=conf\n# a comment\n\n{text}\n")
    assert in_force(MADE[kind](client_config(NOBODY)), caplog)[name] == value


def test_what_is_of_one_kind_of_client_does_not_trouble_another(
    use_file: UseFile, caplog: pytest.LogCaptureFixture
) -> None:
    use_file("compression.type=zstd\nbatch.size=100000\nfetch.wait.max.ms=50\nqueued.min.messages=10\n")
    for make in MADE.values():
        make(client_config(NOBODY)).poll(0)
    assert [record.getMessage() for record in caplog.records if "will be ignored" in record.getMessage()] == []


@pytest.mark.parametrize(
    "name",
    [
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "isolation.level",
        "enable.idempotence",
        "acks",
        "request.required.acks",
        "message.timeout.ms",
        "transactional.id",
        "group.id",
        "group.protocol",
        "session.timeout.ms",
        "partition.assignment.strategy",
        "allow.auto.create.topics",
        "metadata.recovery.strategy",
    ],
)
def test_what_must_not_be_changed_is_refused_by_name(use_file: UseFile, name: str) -> None:
    use_file(f"linger.ms=3\n{name}=1\n")
    with pytest.raises(UserError, match=rf"line 2: {re.escape(USUAL_NAMES.get(name, name))} cannot be changed: .+;"):
        client_config(NOBODY)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lingr.ms=4", "Kafka clients have no property lingr.ms; did you mean linger.ms?"),
        ("linger.ms=soon", 'Invalid value for configuration property "linger.ms"'),
        ("sasl.password hunter2", "line 1: '=' is missing"),
    ],
)
def test_a_mistake_in_the_file_is_reported_and_no_secret_with_it(use_file: UseFile, text: str, told: str) -> None:
    use_file(text)
    with pytest.raises(UserError) as refused:
        producer(client_config(NOBODY))
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_broker_of_the_file_counts_where_nobody_names_another(
    use_file: UseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    use_file("metadata.broker.list=of-file:9092\n")
    assert client_config()["bootstrap.servers"] == "of-file:9092"
    assert client_config("127.0.0.1:9092")["bootstrap.servers"] == "of-file:9092"
    assert client_config("given:9092")["bootstrap.servers"] == "given:9092"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "environment:9092")
    assert client_config()["bootstrap.servers"] == "environment:9092"


def test_the_properties_we_know_are_those_of_the_library(tmp_path: Path) -> None:
    library = next(f.locate() for f in files("confluent-kafka") or () if "librdkafka-" in f.name)
    libc, rdkafka = ctypes.CDLL(None), ctypes.CDLL(str(library))
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fopen(str(tmp_path / "list").encode(), b"w"))
    rdkafka.rd_kafka_conf_properties_show(stream)
    libc.fclose(stream)
    listed = re.findall(r"^([a-z][\w.]*) *\| *([*CP]) *\|", (tmp_path / "list").read_text(), re.MULTILINE)
    scopes = {"*": SHARED, "C": CONSUMER, "P": PRODUCER}
    not_for_users = {"opaque", "builtin.features", "interceptors"}
    unknown = [n for n, s in listed if n not in scopes[s] | not_for_users and not n.endswith("_cb")]
    assert len(listed) > 150
    assert unknown == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pw@host:8081/a", "http://***@host:8081/a"),
        ("http://user:p@w@host:8081", "http://***@host:8081"),
        ("http://token@host", "http://***@host"),
        ("Failed to resolve 'user:pw@host:9092'", "Failed to resolve '***@host:9092'"),
        ("a:9092,u:pw@b:9092", "a:9092,***@b:9092"),
        ("sasl.password=hunter2 sasl.username=u", "sasl.password=*** sasl.username=u"),
        ("?api_key=abc&x=1", "?api_key=***&x=1"),
        ("write to ops@example.org: it is 12:30", "write to ops@example.org: it is 12:30"),
        ("127.0.0.1:9092: Connection refused", "127.0.0.1:9092: Connection refused"),
        (
            "KAFKA_SASL_PASSWORD_FILE=/run/secrets/none: cannot be read",
            "KAFKA_SASL_PASSWORD_FILE=/run/secrets/none: cannot be read",
        ),
        ("there is no models:/battery@champion", "there is no models:/battery@champion"),
        ('{"password": "p4ss", "n": 1}', '{"password": ***, "n": 1}'),
        ('"sasl.password":"p4ss"', '"sasl.password":***'),
        ("password: p4ss", "password: ***"),
        ("Authorization: Bearer p4ss", "Authorization: ***"),
        ("'Authorization': 'Basic cDRzcw=='", "'Authorization': '***'"),
        ("basic.auth.user.info=u:p4ss", "basic.auth.user.info=***"),
        ("https://s3/a?X-Amz-Signature=p4ss&b=1", "https://s3/a?X-Amz-Signature=***&b=1"),
        ("https://blob/a?sv=1&sig=p4ss", "https://blob/a?sv=1&sig=***"),
        ("sasl.oauthbearer.config=principal=p4ss", "sasl.oauthbearer.config=***"),
        (
            "-----BEGIN PRIVATE KEY-----\np4ss\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
        ),
        ("no token from http://issuer:80: it answers 401", "no token from http://issuer:80: it answers 401"),
        ("the password: wrong length", "the password: *** length"),
    ],
)
def test_no_password_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert str(UserError(text)) == shown
    assert DependencyDownError("broker", text).reason == shown


def test_a_secret_of_this_process_is_shown_in_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "p4 s<s>w'rd")
    _own_secrets.cache_clear()
    assert redacted("http://u:p4 s<s>w'rd@reg: refused p4 s<s>w'rd") == "http://***@reg: refused ***"
    monkeypatch.undo()
    _own_secrets.cache_clear()


def test_no_secret_property_is_shown() -> None:
    assert redacted_property("sasl.password", "hunter2") == "***"
    assert redacted_property("ssl.key.pem", "-----BEGIN") == "***"
    assert redacted_property("linger.ms", "5") == "5"


def test_a_line_that_repeats_is_written_once_a_minute_with_how_many_there_were() -> None:
    now = [0.0]
    limiter = LineLimiter(lambda: now[0])
    lines = [f"[thrd:x]: b:1: Connection refused (after {n}ms in state CONNECT)" for n in range(50)]
    assert [limiter.admit(line) for line in lines] == [0] + 49 * [None]
    assert limiter.admit("b:1: Connection timed out") == 0
    now[0] = 61.0
    assert limiter.admit(lines[0]) == 49


def test_warnings_that_repeat_are_written_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")
    log = structlog.get_logger("test")
    for number in range(30):
        log.warning("partition held", partition=0, reason="the registry is away", seconds=number / 10)
        log.warning("partition held", partition=1, reason="the registry is away", seconds=number / 10)
        log.info("every one of these")
    lines = capsys.readouterr().err.splitlines()
    assert sum("partition held" in line for line in lines) == 2
    assert sum("every one of these" in line for line in lines) == 30


def test_clients_made_here_are_those_of_the_library() -> None:
    config = client_config(NOBODY)
    assert isinstance(consumer(config, {"group.id": "g"}), Consumer)
    assert isinstance(producer(config), Producer)
