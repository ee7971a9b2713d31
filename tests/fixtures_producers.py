import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from local.audit import patiently
from tests.flagship import FILE, write_folder

Message = tuple[str | None, bytes | None]


@pytest.fixture
def pipeline_file(kafka: str, tmp_path: Path) -> Path:
    """The flagship pipeline on an input topic of its own with three partitions."""
    declared: dict[str, Any] = yaml.safe_load(FILE.read_text())
    declared["input"]["topic"] = f"readings-{uuid.uuid4().hex}"
    path = write_folder(tmp_path, yaml.safe_dump(declared))
    admin = AdminClient({"bootstrap.servers": kafka})
    created = admin.create_topics([NewTopic(declared["input"]["topic"], 3, 1)])
    for future in created.values():
        future.result(30)
    return path


@pytest.fixture
def drain(kafka: str) -> Callable[[str], list[list[Message]]]:
    """Reads a topic up to its end: a list of messages for each partition."""

    def read(topic: str) -> list[list[Message]]:
        consumer = Consumer({"bootstrap.servers": kafka, "group.id": "none", "enable.auto.commit": False})
        partitions = []
        for partition in range(3):
            at = TopicPartition(topic, partition, 0)
            _, end = patiently(consumer.get_watermark_offsets, at, timeout=30)
            consumer.assign([at])
            messages: list[Message] = []
            while len(messages) < end:
                for message in consumer.consume(min(end - len(messages), 10_000), timeout=10):
                    assert message.error() is None, message.error()
                    key = message.key()
                    messages.append((None if key is None else key.decode(), message.value()))
            partitions.append(messages)
        consumer.close()
        return partitions

    return read
