"""Where a partition stood whose committed offset is gone, found again in what was published.

Kafka drops a group's offsets after `offsets.retention.minutes` without members, and with the group or the topic. To
start at the beginning then would score every reading again. But each outcome says which reading it is of, in the
partition of the same number, and is committed together with the offset behind it. So a partition goes on behind its
newest outcome. Readings behind that and before the lost offset were duplicates, and are found to be so again.

Anybody may write into the outputs: records that no version of ours writes are passed over. Where one behind our newest
outcome may be ours, and cannot be read (its schema is gone from the registry), nobody can tell.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from confluent_kafka import Message

from schemas.codec import decode
from schemas.errors import IncompatibleSchemaError, UnknownSchemaError, UnreadableValueError
from schemas.wire import CONFLUENT_MAGIC
from worker.config.pipeline import Pipeline
from worker.encode.dead_letter import letter_of
from worker.kafka.message import value_of
from worker.kafka.topic_reader import LOOP_PATIENCE_S, Span, TopicReader
from worker.score.decode import WriterSchemaOf

_NEWEST = 100  # outcomes looked at, of each output
_WIDTHS = (1_000, 100_000)  # offsets looked back over for an outcome, before all there are
_ROLES = ("predictions", "alarms", "dead_letters")


class _Outcome(NamedTuple):
    """Which reading an output record is of; `ts` is its event time, where the record says so."""

    topic_id: str
    offset: int
    ts: int | None


_Teller: TypeAlias = Callable[[Message], _Outcome | str | None]
"""Gives the outcome that a record is, or in words why that cannot be told; None: somebody else wrote it."""


class _Newest(NamedTuple):
    """The newest outcomes in each partition of an output, and in words why there may be one behind them."""

    outcomes: dict[int, deque[_Outcome]]
    doubts: dict[int, str]


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
    beat: Callable[[], None] = lambda: None,
) -> dict[int, Place | str]:
    """Find where partitions stood.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        topic_id: of the input topic as it is now.
        ends: first offset and end of each input partition.
        margin: offsets by which to stay behind the newest outcome.
        beat: called now and then: long topics take a while.

    Returns:
        By partition its place, or in words why the outputs cannot tell.

    Raises:
        DependencyDownError: broker or registry does not answer, or a transaction is still open; call again.
    """
    with TopicReader(config, LOOP_PATIENCE_S) as reader:
        # The ends whether committed or not: a predecessor's transaction may still be ending.
        spans = {
            role: reader.spans(pipeline.topics[role], ends.keys(), committed=False) for role in (*_ROLES, "alarm_state")
        }
        newest = {
            role: _newest(reader, pipeline.topics[role], spans[role], _teller(pipeline, role, writer_schema_of), beat)
            for role in _ROLES
        }
    found: dict[int, Place | str] = {}
    for number, span in ends.items():
        if doubts := [newest[role].doubts[number] for role in _ROLES if number in newest[role].doubts]:
            found[number] = "; ".join(doubts)
            continue
        outcomes = [outcome for role in _ROLES for outcome in newest[role].outcomes.get(number, ())]
        # What a log holds from its first offset on, and none of it ours, is of strangers or of aborted transactions.
        empty = {role for role in _ROLES if spans[role][number].low == 0 and number not in newest[role].outcomes}
        if "predictions" in empty and spans["predictions"][number].high > 0:
            empty.add("alarm_state")  # of the same transactions, or of the same strangers
        begun = [pipeline.topics[role] for role, of in spans.items() if of[number].high > 0 and role not in empty]
        kept = number in newest["predictions"].outcomes or "predictions" in empty
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
    if ends.high == ends.low and ours and predictions_kept:
        return Place(behind)  # what was deleted behind it counts as lost
    if ends.high in {ends.low, behind}:
        return Place(ends.high)
    if not ours or not predictions_kept:
        return f"{', '.join(begun)} held records of it that are deleted by now"
    # The earliest time of the newest readings: one whose clock runs ahead must not shorten the rebuild.
    times = [outcome.ts for outcome in ours if outcome.ts is not None]
    return Place(max(behind - margin, 0), min(times) if times else None)


def _newest(
    reader: TopicReader, topic: str, spans: Mapping[int, Span], tell: _Teller, beat: Callable[[], None]
) -> _Newest:
    newest = _Newest({}, {})
    done: dict[int, int] = {number: span.high for number, span in spans.items()}
    for width in (*_WIDTHS, None):
        wanted = {
            number: Span(span.low if width is None else max(span.low, span.high - width), done[number])
            for number, span in spans.items()
            if number not in newest.outcomes and done[number] > span.low
        }
        doubts: dict[int, str] = {}
        for messages in reader.read(topic, wanted):
            beat()
            for message in messages:
                number, told = message.partition(), tell(message)
                if isinstance(told, _Outcome):
                    newest.outcomes.setdefault(number, deque(maxlen=_NEWEST)).append(told)
                    doubts.pop(number, None)
                elif told is not None:
                    doubts[number] = f"{topic}/{number}, offset {message.offset()}: {told}"
        newest.doubts.update(doubts)
        done |= {number: span.low for number, span in wanted.items()}
    return newest


def _teller(pipeline: Pipeline, role: str, writer_schema_of: WriterSchemaOf) -> _Teller:
    if role == "dead_letters":
        return partial(_told_by_letter, pipeline.input.topic)
    schema, by_word, time = pipeline.schema_of(role), pipeline.outputs.by_word, pipeline.input.time

    def tell(message: Message) -> _Outcome | str | None:
        if (value := value_of(message)) is None:
            return None
        try:
            record = by_word(decode(value, writer_schema_of, schema))
        except IncompatibleSchemaError as error:
            return str(error)
        except UnknownSchemaError as error:
            # A registry may have lost a schema of ours; those named by fingerprint come with the package.
            return str(error) if value.startswith(CONFLUENT_MAGIC) else None
        except UnreadableValueError:
            return None
        if record.get("source_offset") is None or record.get("source_partition") != message.partition():
            return "it does not say which reading it is of"
        ts = record.get(time) if role == "predictions" else None
        return _Outcome(record.get("source_topic_id") or "", record["source_offset"], ts)

    return tell


def _told_by_letter(topic: str, message: Message) -> _Outcome | None:
    letter = letter_of(message)
    # Several inputs may share a dead-letter topic.
    if letter is None or letter.source[:2] != (topic, message.partition()):
        return None
    return _Outcome(letter.topic_id, letter.last_offset, None)
