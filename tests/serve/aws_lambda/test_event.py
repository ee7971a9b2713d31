"""Events of Lambda as batches."""

import base64
from typing import Any

import pytest

from common.errors import UserError
from serve.aws_lambda.event import batches_of, read_event
from tests.serve.aws_lambda.events import msk, record, self_managed


@pytest.mark.parametrize("event", [msk, self_managed])
def test_records_become_a_batch_for_each_partition_in_order_of_offsets(event: Any) -> None:
    key = base64.b64encode(b"pump-7").decode()
    given = event(
        record("pumps", 0, 16, b"b"),
        record("pumps", 0, 15, b"a", key=key, headers=[{"traceparent": [48, 48, -1]}, {"empty": None}]),
        record("pumps", 1, 7, None, timestampType="LOG_APPEND_TIME"),
    )
    first, second = batches_of(read_event(given), "pumps")
    assert first.offset.tolist() == [15, 16]
    assert first.values == [b"a", b"b"]
    assert first.keys == [b"pump-7", None]
    assert first.headers == {0: [("traceparent", b"00\xff"), ("empty", None)]}
    assert first.broker_ts.tolist() == [1_700_000_000_000] * 2
    assert (second.partition.tolist(), second.values, second.timestamp_type.tolist()) == ([1], [None], [2])


def test_a_list_that_mixes_partitions_becomes_a_batch_for_each() -> None:
    given = msk(record("pumps", 0, 1, b"a"), record("pumps", 1, 2, b"b"))
    given["records"] = {"pumps-0": [each for records in given["records"].values() for each in records]}
    assert [batch.partition.tolist() for batch in batches_of(read_event(given), "pumps")] == [[0], [1]]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"Records": [{"eventSource": "aws:sqs"}]}, "records"),
        ({"eventSource": "aws:kafka"}, "records"),
        ({"eventSource": "aws:kafka", "records": {"a-0": None}}, "records"),
        (msk(record("pumps", 0, 2**63, b"")), "offset"),
        ([], "no event"),
        (msk(record("pumps", 0, 1, b"") | {"value": "%%%"}), "not Base64"),
        (msk(record("pumps", 0, -1, b"")), "offset"),
        (msk(record("pumps", 0, 1, b"{}", valueSchemaMetadata={"dataFormat": "AVRO"})), "remove the schema registry"),
    ],
)
def test_other_events_are_refused(event: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        read_event(event)


def test_records_of_another_topic_are_refused() -> None:
    event = read_event(msk(record("fans", 0, 1, b"")))
    with pytest.raises(UserError, match="records of topic 'fans', and the pipeline reads 'pumps'"):
        list(batches_of(event, "pumps"))
