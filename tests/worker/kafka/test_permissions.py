"""A missing ACL is told by operation and resource, with the command that grants it; granted, the worker goes on."""

from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from common.errors import UserError
from local.isolated_pipeline import isolated_pipeline
from tests.harness import Stage, avro, make_stage, reading, wait_until
from tests.secured_broker import Secured
from worker.cli.doctor import _findings
from worker.config.pipeline import load_pipeline
from worker.config.settings import load_settings
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.permissions import topic_permissions, worker_permissions
from worker.kafka.topic_reader import TopicReader
from worker.kafka.topics import create_topics

PRINCIPAL = "User:worker"
TOPIC, GROUP, ID = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID


class Acls:
    """What the user `worker` may do, on the secured broker."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = admin_client(client_config(bootstrap))

    def allow(self, kind: ResourceType, name: str, *operations: str) -> None:
        for operation in operations:
            self._done(self._admin.create_acls([self._of(AclBinding, kind, name, operation)]))

    def forbid(self, kind: ResourceType, name: str, operation: str) -> None:
        self._done(self._admin.delete_acls([self._of(AclBindingFilter, kind, name, operation)]))

    @staticmethod
    def _of(form: type, kind: ResourceType, name: str, operation: str) -> AclBinding:
        pattern = ResourcePatternType.LITERAL
        return form(kind, name, pattern, PRINCIPAL, "*", AclOperation[operation], AclPermissionType.ALLOW)

    @staticmethod
    def _done(futures: dict[object, object]) -> None:
        for future in futures.values():
            future.result()  # type: ignore[attr-defined]  # the client has no annotations


@pytest.fixture
def acls(secured: Secured) -> Acls:
    return Acls(secured.plaintext)


@pytest.fixture
def guarded(secured: Secured, acls: Acls, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    """Topics on the secured broker; a worker on them is the user `worker`, and may all that it needs."""
    stage = make_stage(secured.plaintext, topic_prefix, tmp_path, model_package)
    stage.environment = secured.sasl("worker")
    stage.settings = {"model_max_ms": "10000"}  # other tests share the cores
    needed = {"input": ("READ",), "sketches": ("WRITE",), "shadow": ("WRITE",)}
    needed |= {"events": ("DESCRIBE",), "labels": ("DESCRIBE",)}
    for role, topic in stage.pipeline.topics.items():
        acls.allow(TOPIC, topic, *needed.get(role, ("READ", "WRITE")), "DESCRIBE_CONFIGS")
    acls.allow(GROUP, f"hazardstream-{stage.pipeline.name}", "READ")
    acls.allow(ID, f"hazardstream-{stage.pipeline.name}-w1", "DESCRIBE", "WRITE")
    return stage


@pytest.fixture
def as_worker(guarded: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in guarded.environment.items():
        monkeypatch.setenv(name, value)


def lacking(stage: Stage) -> list[str]:
    config = client_config()
    return worker_permissions(admin_client(config), config, stage.pipeline, f"hazardstream-{stage.pipeline.name}")


@pytest.mark.usefixtures("as_worker")
def test_each_missing_acl_is_named(guarded: Stage, acls: Acls) -> None:
    topics, group = guarded.pipeline.topics, f"hazardstream-{guarded.pipeline.name}"
    assert wait_until(lambda: lacking(guarded) == [], "all is allowed")
    for kind, name, operation, spoken in (
        (TOPIC, topics["dead_letters"], "WRITE", "Write topic"),
        (TOPIC, topics["input"], "READ", "Read topic"),
        (TOPIC, topics["predictions"], "READ", "Read topic"),
        (TOPIC, topics["alarms"], "READ", "Read topic"),
        (GROUP, group, "READ", "Read group"),
    ):
        acls.forbid(kind, name, operation)
        (told,) = wait_until(lambda: lacking(guarded), "a missing ACL is seen")
        option = "--topic" if kind == TOPIC else "--group"
        assert f"User:worker may not {spoken} {name}" in told
        assert f"--add --allow-principal 'User:worker' --operation {operation.capitalize()} {option} '{name}'" in told
        acls.allow(kind, name, operation)
        wait_until(lambda: lacking(guarded) == [], "all is allowed again")


@pytest.mark.usefixtures("as_worker")
def test_what_may_not_be_described_is_not_called_missing(guarded: Stage, acls: Acls) -> None:
    topic = guarded.pipeline.topics["alarms"]
    for operation in ("READ", "WRITE", "DESCRIBE_CONFIGS"):
        acls.forbid(TOPIC, topic, operation)
    config = client_config()
    admin = admin_client(config)
    (told,) = wait_until(lambda: topic_permissions(admin, config, [topic], "Describe"), "it is hidden")
    assert f"may not Describe topic {topic} (or it does not exist: the broker does not say)" in told
    found = [f for f in _findings(load_settings(pipeline=str(guarded.pipeline_file))) if f.verdict == "wrong"]
    assert [f.subject for f in found if f.subject in {"acl", "topics"}] == ["acl"]
    with TopicReader(config) as reader, pytest.raises(UserError, match=rf"may not Read topic {topic}"):
        reader.spans(topic)


@pytest.mark.usefixtures("as_worker")
def test_topics_that_may_not_be_created_are_reported(tmp_path: Path) -> None:
    other = load_pipeline(str(isolated_pipeline("other", tmp_path)))
    config = client_config()
    with pytest.raises(UserError, match=r"may not Create and Describe topic other\..*--operation Create"):
        create_topics(admin_client(config), other, partitions=1, replication_factor=1, config=config)


def test_a_worker_waits_for_what_it_lacks_and_goes_on_once_it_is_granted(guarded: Stage, acls: Acls) -> None:
    topics, name = guarded.pipeline.topics, guarded.pipeline.name
    acls.forbid(ID, f"hazardstream-{name}-w1", "WRITE")
    acls.forbid(TOPIC, topics["dead_letters"], "WRITE")
    guarded.publish([("m", avro(reading("m", 1_780_000_000_000)))])
    with guarded.worker() as worker:
        worker.await_reason("waiting for permissions", f"may not Write topic {topics['dead_letters']}", "kafka-acls.sh")
        acls.allow(TOPIC, topics["dead_letters"], "WRITE")
        worker.await_reason(f"transactional id hazardstream-{name}-w1", "--transactional-id")
        acls.allow(ID, f"hazardstream-{name}-w1", "WRITE")
        worker.await_scored(1)
        # In mid-run, too.
        acls.forbid(TOPIC, topics["dead_letters"], "WRITE")
        guarded.publish([("m", b"broken")])
        worker.await_reason(f"may not Write topic {topics['dead_letters']}")
        acls.allow(TOPIC, topics["dead_letters"], "WRITE")
        wait_until(lambda: guarded.outcomes() == 2, "the dead letter is there")
        worker.await_ready()
        assert worker.stop() == 0
