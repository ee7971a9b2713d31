"""Where a partition stood whose committed offset is gone, found again in what was published.

Kafka drops a group's offsets after `offsets.retention.minutes` without members, and with the group or the topic. To
start at the beginning then would score every reading again. But each outcome says which reading it is of, in the
partition of the same number, and is committed together with the offset behind it. So a partition goes on behind its
newest outcome. Readings behind that and before the lost offset were duplicates, and are found to be so again.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Message

from schemas.codec import decode
from schemas.errors import UnreadableValueError
from schemas.load import load_schema
from worker.dead_letters import letter_of
from worker.decode import WriterSchemaOf
from worker.message import value_of
from worker.outbox import LAST_OFFSET, TOPIC_ID
from worker.pipeline import Pipeline
from worker.topic_reader import Span, TopicReader

_PATIENCE_S = 10.0  # as of worker/refused.py
_NEWEST = 100  # outcomes looked at, of each output
_WIDTHS = (1_000, 100_000)  # offsets looked back over for an outcome, before all there are
_ROLES = ("predictions", "alarms", "dead_letters")


class _Outcome(NamedTuple):
    """Which reading an output record is of; `ts` is its event time, where the record says so."""

    topic_id: str
    offset: int
    ts: int | None


class Place(NamedTuple):
    """Where to go on.

    Attributes:
        offset: of the input partition; None: nothing was ever published for it, or only for a topic that is no more.
        clock: a stream time, ms, that the partition had certainly reached there; None where the outputs do not say.
        former_topic: whether all outcomes are of a topic of this name that is no more.
    """

    offset: int | None
    clock: int | None = None
    former_topic: bool = False


def recovered_places(
    config: dict[str, Any],
    pipeline: Pipeline,
    writer_schema_of: WriterSchemaOf,
    topic_id: str,
    ends: Mapping[int, Span],
    margin: int = 0,
) -> dict[int, Place | str]:
    """Find where partitions stood.

    Args:
        config: see `worker.kafka_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        topic_id: of the input topic as it is now.
        ends: first offset and end of each input partition.
        margin: offsets by which to stay behind the newest outcome.

    Returns:
        By partition its place, or in words why the outputs cannot tell.

    Raises:
        DependencyDownError: broker or registry does not answer, or a transaction is still open; call again.
    """
    with TopicReader(config, _PATIENCE_S) as reader:
        # The ends whether committed or not: a predecessor's transaction may still be ending.
        spans = {
            role: reader.spans(pipeline.topics[role], ends.keys(), committed=False) for role in (*_ROLES, "alarm_state")
        }
        tails = {role: _tails(reader, pipeline.topics[role], spans[role], role) for role in _ROLES}
    found: dict[int, Place | str] = {}
    for number, span in ends.items():
        outcomes: list[_Outcome] = []
        try:
            for role in _ROLES:
                outcomes += _outcomes(pipeline, role, tails[role].get(number, ()), writer_schema_of)
        except UnreadableValueError as error:
            found[number] = f"{pipeline.topics['predictions']}/{number} holds records that are not ours: {error}"
            continue
        # What a log holds from its first offset on, and none of it committed, is left of aborted transactions.
        aborted = {role for role in _ROLES if spans[role][number].low == 0 and not tails[role].get(number)}
        if "predictions" in aborted and spans["predictions"][number].high > 0:
            aborted.add("alarm_state")  # of the same transactions
        begun = [pipeline.topics[role] for role, of in spans.items() if of[number].high > 0 and role not in aborted]
        kept = bool(tails["predictions"].get(number)) or "predictions" in aborted
        found[number] = _place(outcomes, topic_id, span, begun, predictions_kept=kept, margin=margin)
    return found


def _place(
    outcomes: list[_Outcome], topic_id: str, ends: Span, begun: list[str], *, predictions_kept: bool, margin: int
) -> Place | str:
    """The place that these outcomes tell of; `begun`: output topics that have held something for the partition."""
    ours = [outcome for outcome in outcomes if not topic_id or outcome.topic_id in {"", topic_id}]
    behind = max((outcome.offset + 1 for outcome in ours), default=0)
    if not begun or (outcomes and not ours and predictions_kept):
        return Place(None, former_topic=bool(begun))
    if behind > ends.high:
        return f"they hold an outcome of offset {behind - 1}, and the input ends at {ends.high}"
    if ends.high in {ends.low, behind}:
        return Place(ends.high)
    if not ours or not predictions_kept:
        return f"{', '.join(begun)} held records of it that are deleted by now"
    # The earliest time of the newest readings: one whose clock runs ahead must not shorten the rebuild.
    times = [outcome.ts for outcome in ours if outcome.ts is not None]
    return Place(max(behind - margin, 0), min(times) if times else None)


def _tails(reader: TopicReader, topic: str, spans: Mapping[int, Span], role: str) -> dict[int, deque[Message]]:
    """The newest outcomes of each partition, however much that is none lies behind them."""
    tails: dict[int, deque[Message]] = {}
    done: dict[int, int] = {number: span.high for number, span in spans.items()}
    for width in (*_WIDTHS, None):
        wanted = {
            number: Span(span.low if width is None else max(span.low, span.high - width), done[number])
            for number, span in spans.items()
            if number not in tails and done[number] > span.low
        }
        for messages in reader.read(topic, wanted):
            for message in messages:
                if role != "dead_letters" or letter_of(message) is not None:
                    tails.setdefault(message.partition(), deque(maxlen=_NEWEST)).append(message)
        done |= {number: span.low for number, span in wanted.items()}
    return tails


def _outcomes(
    pipeline: Pipeline, role: str, messages: "deque[Message] | tuple[()]", writer_schema_of: WriterSchemaOf
) -> Iterator[_Outcome]:
    if role == "dead_letters":
        for letter in filter(None, map(letter_of, messages)):
            topic, number, offset = letter.source
            if (topic, number) == (pipeline.input.topic, letter.partition):
                last = letter.said.get(LAST_OFFSET, "")
                yield _Outcome(letter.said.get(TOPIC_ID, ""), int(last) if last.isdecimal() else offset, None)
        return
    schema = load_schema(pipeline.schemas[role])

    for message in messages:
        if (value := value_of(message)) is None:
            continue
        record = pipeline.outputs.by_word(decode(value, writer_schema_of, schema))
        if record.get("source_offset") is None or record.get("source_partition") != message.partition():
            raise UnreadableValueError(f"offset {message.offset()} does not say which reading it is of")
        ts = record.get(pipeline.input.time) if role == "predictions" else None
        yield _Outcome(record.get("source_topic_id") or "", record["source_offset"], ts)
