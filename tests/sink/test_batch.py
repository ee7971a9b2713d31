"""Which messages become part of a batch."""

from pathlib import Path

from sink.assignment import Assigned
from sink.metrics import SinkMetrics
from sink.parquet_store import ParquetStore
from sink.run import Limits, Sink, sink_consumer
from tests.sink.records import ORIGIN, TOPIC, message, record_of, table
from worker.kafka.client_config import client_config


def test_messages_that_the_client_fetched_before_a_seek_are_dropped(tmp_path: Path) -> None:
    config = client_config("127.0.0.1:9")
    consumer = sink_consumer(config, "g", None)
    made = table(record_of(("x", "long")))
    sink = Sink(config, consumer, [made], ParquetStore(tmp_path), Limits(1.0, 10, 1), SinkMetrics())
    assigned = Assigned(TOPIC, 0, ORIGIN, expected=5, first=5, next_offset=5)

    for offset in (0, 4, 5, 9, 5, 10):
        sink._add(message(b"", offset), assigned)

    assert [m.offset() for m in sink._batch[TOPIC, 0]] == [5, 9, 10]
    consumer.close()
