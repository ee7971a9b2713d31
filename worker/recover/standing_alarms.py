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
from schemas.wire import CONFLUENT_MAGIC
from worker.alarms.state_machine import AlarmState
from worker.config.pipeline import Pipeline
from worker.encode.encoder import state_from
from worker.kafka.message import key_of, value_of
from worker.kafka.topic_reader import LOOP_PATIENCE_S, TopicReader
from worker.score.decode import WriterSchemaOf

_NO_TIMERS = {"pending_since_ts": None, "clearing_since_ts": None}


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
    topic, schema = pipeline.outputs.alarms.topic, pipeline.outputs.alarms.avro_schema
    found: dict[bytes, AlarmState] = {}
    with TopicReader(config, LOOP_PATIENCE_S) as reader:
        for messages in reader.read(topic, {number: reader.span_while_running(topic, number)}):
            beat()
            for message in messages:
                value, key = value_of(message) or b"", key_of(message) or b""
                try:
                    record = pipeline.outputs.by_word(decode(value, writer_schema_of, schema))
                except UnreadableValueError as error:
                    raise_if_ours(value, error, f"{topic}/{number}, offset {message.offset()}")
                    continue
                found.pop(key, None)
                if (state := state_from(_NO_TIMERS | record)).active:
                    found[key] = state
    return found


def raise_if_ours(value: bytes, error: UnreadableValueError, place: str) -> None:
    """Refuse to take a value that may be ours, and cannot be read, for a stranger's: its alarm would be forgotten.

    Raises:
        DependencyDownError: it may be ours, as the registry has lost schemas, or has others under their ids.
    """
    if value.startswith(CONFLUENT_MAGIC) and not isinstance(error, MalformedError):
        raise DependencyDownError(
            "schema registry",
            f"{place}: {error}. A standing alarm may be in it: restore the schemas that the registry had under their "
            "ids. If somebody else wrote it, produce a null value under its key",
        )
