"""Alarms that stand, found again in the alarms that were published, where the topic of their states was lost.

Alarm states are read back from a compacted topic. If somebody deletes that topic and creates it again, or deletes its
records, an alarm that stands would be raised a second time. The transitions say which alarms stand; only timers that
were running are lost with the states.
"""

from collections.abc import Callable
from typing import Any

from common.errors import DependencyDownError
from schemas.codec import decode
from schemas.errors import MalformedError, UnreadableValueError
from schemas.load import load_schema
from schemas.wire import CONFLUENT_MAGIC
from worker.alarms.state_machine import ACTIVE, AlarmState
from worker.config.pipeline import Pipeline
from worker.kafka.message import key_of, value_of
from worker.kafka.topic_reader import TopicReader
from worker.score.decode import WriterSchemaOf

_PATIENCE_S = 10.0  # as of worker/recover/replay_filter.py


def standing_alarms(
    config: dict[str, Any],
    pipeline: Pipeline,
    writer_schema_of: WriterSchemaOf,
    number: int,
    beat: Callable[[], None],
) -> dict[bytes, AlarmState]:
    """The alarms of a partition that stand by the last transition of each key.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        number: of the partition.
        beat: called now and then: a long topic takes a while.

    Raises:
        DependencyDownError: broker or registry does not answer, a transaction is still open, or the registry has lost a
            schema; call again.
    """
    topic, schema = pipeline.outputs.alarms.topic, load_schema(pipeline.outputs.alarms.schema_name)
    found: dict[bytes, AlarmState] = {}
    with TopicReader(config, _PATIENCE_S) as reader:
        for messages in reader.read(topic, {number: reader.span_while_running(topic, number)}):
            beat()
            for message in messages:
                value, key = value_of(message) or b"", key_of(message) or b""
                try:
                    record = pipeline.outputs.by_word(decode(value, writer_schema_of, schema))
                except UnreadableValueError as error:
                    require_strangers(value, error, f"{topic}/{number}, offset {message.offset()}")
                    continue
                found.pop(key, None)
                if record["state"] == ACTIVE:
                    words = ("priority", "alarm_id", "onset_ts", "peak_probability")
                    found[key] = AlarmState(active=True, **{word: record[word] for word in words})
    return found


def require_strangers(value: bytes, error: UnreadableValueError, place: str) -> None:
    """See that a value of ours that cannot be read is not taken for a stranger's: its alarm would be forgotten.

    Raises:
        DependencyDownError: it may be ours, as the registry has lost schemas, or has others under their ids.
    """
    if value.startswith(CONFLUENT_MAGIC) and not isinstance(error, MalformedError):
        raise DependencyDownError(
            "schema registry",
            f"{place}: {error}. A standing alarm may be in it: restore the schemas that the registry had under their "
            "ids. If somebody else wrote it, produce a null value under its key",
        )
