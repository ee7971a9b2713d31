"""Active alarms, found in the published transitions when the topic of alarm states was lost.

Alarm states are restored from a compacted topic. If somebody recreates that topic or deletes its records, an active
alarm would be raised a second time. The published transitions show which alarms are active; only running timers are
lost with the states.
"""

from collections.abc import Callable
from typing import Any

from common.errors import DependencyDownError
from schemas.codec import decode
from schemas.errors import UnreadableValueError
from worker.alarms.alarms import MODEL, state_key
from worker.alarms.state_machine import AlarmState
from worker.config.pipeline import Pipeline
from worker.encode.encoder import state_from
from worker.kafka.message import key_of, value_of
from worker.kafka.topic_reader import LOOP_PATIENCE_S, TopicReader
from worker.recover.authorship import may_be_ours
from worker.score.decode import WriterSchemaOf

_NO_TIMERS = {"pending_since_ts": None, "clearing_since_ts": None}


def active_alarms(
    config: dict[str, Any],
    pipeline: Pipeline,
    writer_schema_of: WriterSchemaOf,
    partition: int,
    beat: Callable[[], None],
) -> dict[bytes, AlarmState]:
    """The alarms of a partition that are active after the last transition of each, by `state_key`.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        partition: of the topics.
        beat: called regularly, because reading a long topic takes time.

    Raises:
        DependencyDownError: broker or registry does not answer, a transaction is still open, or the registry has lost a
            schema; call again.
    """
    topic, schema = pipeline.topics["alarms"], pipeline.records["alarms"].schema
    found: dict[bytes, AlarmState] = {}
    with TopicReader(config, LOOP_PATIENCE_S) as reader:
        for messages in reader.read(topic, {partition: reader.span_while_running(topic, partition)}):
            beat()
            for message in messages:
                value, key = value_of(message) or b"", key_of(message) or b""
                try:
                    record = pipeline.outputs.with_engine_names(decode(value, writer_schema_of, schema))
                except UnreadableValueError as error:
                    raise_if_ours(value, error, f"{topic}/{partition}, offset {message.offset()}")
                    continue
                place = state_key(key, record.get("rule") or MODEL)
                found.pop(place, None)
                if (state := state_from(_NO_TIMERS | record)).active:
                    found[place] = state
    return found


def raise_if_ours(value: bytes, error: UnreadableValueError, place: str) -> None:
    """Stop at a value that cannot be read and may be ours: skipping it could lose an active alarm.

    Raises:
        DependencyDownError: it may be ours.
    """
    if may_be_ours(value, error):
        raise DependencyDownError(
            "schema registry",
            f"{place}: {error}. This record may hold an active alarm: restore the schemas that the registry had, under "
            "their ids. If another program wrote the record, produce a null value with its key",
        )
