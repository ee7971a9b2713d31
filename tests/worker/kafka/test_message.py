"""What a message holds can be read whatever it is, as often as one likes."""

import uuid

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import NewTopic

from tests.raw_batches import Raw, batch, produce, records_section
from worker.kafka.client_config import admin_client, client_config, consumer
from worker.kafka.message import UNREADABLE_HEADER, all_headers_of, headers_of, keys_of, timestamps_of, values_of

pytestmark = pytest.mark.kafka


def read_back(kafka: str, topic: str, records: list[Raw]) -> list[Message]:
    """The records as a consumer gets them."""
    admin = admin_client(client_config(kafka))
    admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "-1"})])[topic].result()
    produce(kafka, topic, 0, batch(records_section(records), len(records), timestamp_ms=7))
    reader = consumer(client_config(kafka) | {"group.id": str(uuid.uuid4())})
    reader.assign([TopicPartition(topic, 0, 0)])
    messages: list[Message] = []
    while len(messages) < len(records):
        messages += reader.consume(len(records), 10.0)
    reader.close()
    return messages


def test_bad_header_names_are_stood_in_for_even_when_the_interpreter_has_warmed_up(
    kafka: str, unique_name: str
) -> None:
    """An interpreter that has specialised a call no longer checks what the client returns from it."""
    records = [Raw(b"k", b"v", [(b"a", b"1"), (b"\xff", b"2"), (b"b", None), (b"\x80", None)]) for _ in range(200)]
    for message in read_back(kafka, unique_name, records):
        for _ in range(2):
            headers = headers_of(message)
            assert headers == [("a", b"1"), (UNREADABLE_HEADER, b"2"), ("b", None), (UNREADABLE_HEADER, None)]


def test_headers_of_a_batch_are_those_of_its_messages_whichever_of_them_are_bad(kafka: str, unique_name: str) -> None:
    some = [Raw(b"k", b"v", h) for h in ([], [(b"a", b"1")], [(b"\xff", b"2")], [], [(b"b", None), (b"\x80", b"")])]
    messages = read_back(kafka, unique_name, some * 40)
    for _ in range(2):
        found = all_headers_of(messages)
        assert found == {row: headers_of(m) for row, m in enumerate(messages) if headers_of(m)}
        assert len(found) == 3 * 40
    assert found[4] == [("b", None), (UNREADABLE_HEADER, b"")]
    assert all_headers_of(messages[:1]) == {}


def test_missing_and_empty_values_are_distinguished(kafka: str, unique_name: str) -> None:
    messages = read_back(kafka, unique_name, [Raw(None, None), Raw(b"", b"", [(b"", None), (b"", b"")])])
    assert keys_of(messages) == [None, b""]
    assert values_of(messages) == [None, b""]
    assert timestamps_of(messages)[1].tolist() == [7, 7]
    assert [headers_of(m) for m in messages] == [[], [("", None), ("", b"")]]
