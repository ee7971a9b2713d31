"""The environment as Kubernetes, OpenShift and careless people make it."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

from common.directories import cache_directory
from common.errors import DependencyDownError, UserError
from schemas.access import Access
from schemas.registry import SchemaRegistry
from tests.flagship import SHIPPED_MODEL
from worker.config.kafka_environment import PROPERTY_OF
from worker.config.settings import ignored_service_links, load_settings, unread_settings
from worker.kafka.client_config import admin_client, client_config
from worker.model.mlflow_client import mlflow_client

# As Kubernetes writes them for services called kafka, kafka-ssl, schema-registry, hazardstream-http and mlflow.
SERVICE_LINKS = {
    "KAFKA_PORT": "tcp://10.0.0.7:9092",
    "KAFKA_SERVICE_HOST": "10.0.0.7",
    "KAFKA_SERVICE_PORT": "9092",
    "KAFKA_PORT_9092_TCP": "tcp://10.0.0.7:9092",
    "KAFKA_PORT_9092_TCP_PROTO": "tcp",
    "KAFKA_SSL_SERVICE_HOST": "10.0.0.8",
    "KAFKA_SSL_SERVICE_PORT": "9093",
    "KAFKA_SSL_SERVICE_PORT_TLS_BROKER": "9093",
    "KAFKA_SSL_PORT": "tcp://10.0.0.8:9093",
    "KAFKA_SSL_PORT_9093_TCP_ADDR": "10.0.0.8",
    "KAFKA_SASL_PORT": "udp://10.0.0.9:9094",
    "SCHEMA_REGISTRY_PORT": "tcp://10.0.0.9:8081",
    "HAZARDSTREAM_HTTP_PORT": "tcp://10.0.0.10:8080",
    "HAZARDSTREAM_HTTP_PORT_8080_TCP_PORT": "8080",
    "HAZARDSTREAM_SERVICE_HOST": "10.0.0.10",
    "HAZARDSTREAM_PORT": "tcp://10.0.0.10:8080",
    "MLFLOW_PORT": "tcp://10.0.0.11:5000",
    "MLFLOW_SERVICE_PORT_HTTP": "5000",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("KAFKA_", "HAZARDSTREAM_", "SCHEMA_REGISTRY_", "MLFLOW_")):
            monkeypatch.delenv(name)


def run(
    *arguments: str, homeless: bool = False, variables: Mapping[str, str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command in an environment that holds nothing but what is given (and the path)."""
    program = "from hazardstream.cli import main; main()"
    if homeless:
        program = (
            "import pwd\ndef nobody(*_): raise KeyError('uid not found')\n"
            f"pwd.getpwuid = pwd.getpwnam = nobody\n{program}"
        )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PATH": os.environ["PATH"], **(variables or {}), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_service_links_of_kubernetes_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = client_config("broker:9092"), load_settings().model_dump()
    for name, value in SERVICE_LINKS.items():
        monkeypatch.setenv(name, value)
    assert (client_config("broker:9092"), load_settings().model_dump()) == bare
    assert unread_settings() == []
    assert ignored_service_links() == sorted(SERVICE_LINKS)


@pytest.mark.parametrize("blank", ["", " "])
def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank: str) -> None:
    bare = client_config(), load_settings().model_dump()
    names = ["HTTP_PORT", "MODEL", "GUARANTEE", "CACHE_DIRECTORY", "CHALLENGER_SHARE", "INSTANCE_ID", "LINGER_MS"]
    for name in [f"HAZARDSTREAM_{n}" for n in names] + ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_PASSWORD_FILE"]:
        monkeypatch.setenv(name, blank)
    monkeypatch.setenv("KAFKA_CONFIG_FILE", blank)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", blank)
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", blank)
    assert (client_config(), load_settings().model_dump()) == bare
    assert unread_settings() == []


def test_an_empty_variable_does_not_hide_the_service_s_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZARDSTREAM_BOOTSTRAP_SERVERS", "")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    assert load_settings(bootstrap_servers="").bootstrap_servers == "broker:9092"


def test_the_group_has_the_pipeline_s_name_unless_one_is_set() -> None:
    assert load_settings().group_of("own") == "hazardstream-own"
    assert load_settings(group_id="other").group_of("own") == "other"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KAFKA_SSL_CA_LOCATON", "KAFKA_SSL_CA_LOCATION"),
        ("KAFKA_SASL_PASWORD", "KAFKA_SASL_PASSWORD"),
        ("KAFKA_SECURITY_PROTOCOLL", "KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_a_mistyped_variable_of_kafka_s_security_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "secret")
    with pytest.raises(UserError, match=f"{name} .* did you mean {meant}") as refused:
        client_config()
    assert "secret" not in str(refused.value)


def test_mistyped_settings_are_reported_and_those_of_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZARDSTREAM_PIPLINE", "x")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVER", "x")
    monkeypatch.setenv("SCHEMA_REGISTRY_URI", "x")
    # A broker's own settings, as its images take them.
    monkeypatch.setenv("KAFKA_SSL_TRUSTSTORE_LOCATION", "/x.jks")
    monkeypatch.setenv("KAFKA_ADVERTISED_LISTENERS", "x")
    client_config()
    told = "\n".join(unread_settings())
    for name in ("HAZARDSTREAM_PIPELINE", "KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL"):
        assert f"did you mean {name}?" in told
    assert "KAFKA_SSL_TRUSTSTORE_LOCATION is not a setting; docs" in told
    assert "ADVERTISED" not in told


def test_the_client_library_knows_every_property_that_is_read() -> None:
    unknown = []
    for name in PROPERTY_OF.values():
        try:
            admin_client({"bootstrap.servers": "127.0.0.1:1", name: ""})
        except UserError as error:
            if "No such configuration property" in str(error):
                unknown.append(name)
    assert unknown == []


def test_a_value_that_is_refused_is_not_shown_and_its_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAZARDSTREAM_HTTP_PORT", "99999")
    with pytest.raises(UserError, match=r"HAZARDSTREAM_HTTP_PORT: it must be at most 65535$"):
        load_settings()


@pytest.mark.slow  # a process of its own
def test_a_worker_reports_a_wrong_list_of_unreadable_batches_before_it_waits_for_a_broker(tmp_path: Path) -> None:
    done = run("worker", "--bootstrap", "127.0.0.1:1", HAZARDSTREAM_SKIP_UNREADABLE="3:512", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "HAZARDSTREAM_SKIP_UNREADABLE=3:512: write PARTITION/OFFSET" in done.stderr


@pytest.mark.slow  # a process of its own
def test_without_a_home_nothing_but_the_cache_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = run("doctor", "--json", "--bootstrap", "127.0.0.1:1", "--registry", "", homeless=True)
    assert told.returncode == 3  # there is no broker either
    assert "Traceback" not in told.stderr
    assert "HAZARDSTREAM_CACHE_DIRECTORY" in told.stdout
    package = str(SHIPPED_MODEL)
    found = run(
        "doctor",
        "--model",
        package,
        "--bootstrap",
        "127.0.0.1:1",
        homeless=True,
        HAZARDSTREAM_CACHE_DIRECTORY=str(tmp_path),
    )
    assert re.search(r"ok +model", found.stdout), found.stdout + found.stderr
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError("uid not found")))
    with pytest.raises(UserError, match="no home directory"):
        cache_directory()


@pytest.mark.slow  # a process of its own
def test_terminals_and_locales_as_they_come() -> None:
    odd = {"COLUMNS": "abc", "TERMINAL_WIDTH": "wide", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (["--help"], ["worker", "--pipeline", "ä\x1b[31m …"], ["dlq", "list", "--reason", "ü"]):
        told = run(*arguments, variables=odd, PYTHONIOENCODING="ascii")
        assert "Traceback" not in told.stderr, told.stderr
        assert "\x1b" not in told.stdout + told.stderr
        assert told.returncode == (0 if arguments == ["--help"] else 2)


@pytest.mark.slow  # a process of its own
def test_a_cache_that_cannot_be_used_is_no_traceback(tmp_path: Path) -> None:
    package = str(SHIPPED_MODEL)

    def doctor(directory: str) -> subprocess.CompletedProcess[str]:
        environment = {"HAZARDSTREAM_CACHE_DIRECTORY": directory, "HOME": str(tmp_path)}
        return run("doctor", "--model", package, "--bootstrap", "127.0.0.1:1", variables=environment)

    with ThreadPoolExecutor() as at_once:  # each waits for a broker that is not there
        for done in at_once.map(doctor, ["/dev/null/x", f"/var/{'x' * 300}", "/proc/none"]):
            assert "Traceback" not in done.stderr, done.stderr
            assert re.search(r"ok +model|HAZARDSTREAM_CACHE_DIRECTORY", done.stdout), done.stdout


def asked_of(address: str) -> None:
    with mlflow_client(address) as client:
        client.get_model_version_by_alias("m", "champion")


@pytest.mark.parametrize("blank", ["", " ", "tcp://10.0.0.1:80"])
def test_a_blank_variable_of_mlflow_s_is_unset(monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS" if blank.strip() == "" else "MLFLOW_PORT", blank)
    with pytest.raises(DependencyDownError, match="Connection refused"):
        asked_of("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "value"), [("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon"), ("MLFLOW_TRACKING_INSECURE_TLS", "perhaps")]
)
def test_a_variable_that_mlflow_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"{name}='{value}'.*correct it or unset it"):
        asked_of("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "address", ["http://u:p4ss/x@127.0.0.1:9", "http://u:p4ss#x@127.0.0.1:9", "http://", "http://h:x"]
)
def test_an_address_of_mlflow_s_that_is_none_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not a URL") as caught:
        asked_of(address)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_a_certificate_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "/nonexistent/file")
    with pytest.raises(UserError, match=f"{name}=/nonexistent/file: cannot be used"):
        Access()


def test_a_fault_of_a_proxy_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:p4ss@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(DependencyDownError, match=r"through the proxy http://\*\*\*@127.0.0.1:9 of HTTP_PROXY"):
        SchemaRegistry("http://registry.example:8081").latest("m-value")


@pytest.mark.parametrize(
    ("address", "told"),
    [("nonsense", "neither an address nor a directory"), ("ftp://x", "MLflow has no such scheme")],
)
def test_an_mlflow_store_that_does_not_exist_is_reported_and_not_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        asked_of(address)
    assert list(tmp_path.iterdir()) == []


WRONG_PIPELINE = (
    "import sys; sys.argv[1:] = ['worker', '--pipeline', 'none']; from hazardstream.cli import main; main()"
)
SAYS_SOMETHING = "import hazardstream.cli as c; from common.terminal import say; c.app = lambda: say('x'); c.main()"


@pytest.mark.slow  # a process of its own
@pytest.mark.parametrize(
    ("program", "streams", "said"),
    [
        (WRONG_PIPELINE, "2>/dev/full", ""),
        (SAYS_SOMETHING, ">/dev/full", "standard output cannot be written (No space left on device)"),
    ],
)
def test_streams_that_take_nothing_change_no_exit_code(program: str, streams: str, said: str) -> None:
    command = f'exec "$0" -c "$1" {streams}'
    done = subprocess.run(
        ["/bin/bash", "-c", command, sys.executable, program], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
