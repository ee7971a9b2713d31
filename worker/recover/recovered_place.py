"""Where a partition stopped, found in the outputs when the group's committed offset is gone.

Kafka drops a group's offsets after `offsets.retention.minutes` without members, and with the group or the topic.
Starting at the beginning would score every reading again. But each outcome names its reading, in the partition of the
same number, and is committed together with the next offset. So a partition continues behind its newest outcome.
Duplicates between that and the lost offset have no outcome; they are found to be duplicates again.

Other programs may write to the outputs: their records are skipped. If a record after the newest outcome of a worker
may be of a worker, too, and cannot be read (its schema is gone from the registry), the place is uncertain.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from confluent_kafka import Message

from schemas.codec import decode
from schemas.errors import UnreadableValueError
from worker.config.pipeline import Pipeline
from worker.config.roles import ROLES
from worker.encode.dead_letter import letter_of
from worker.kafka.message import value_of
from worker.kafka.topic_reader import LOOP_PATIENCE_S, Span, TopicReader
from worker.recover.authorship import may_be_ours
from worker.score.decode import WriterSchemaOf

_OUTCOMES_KEPT = 100  # the newest, of each output
_SEARCH_WIDTHS = (1_000, 100_000)  # offsets from the end that are searched for an outcome, before the whole log is
_ROLES = tuple(name for name, role in ROLES.items() if role.shows_progress)


class _Outcome(NamedTuple):
    """The reading that an output record is about; `ts` is its event time, None where the record does not hold it."""

    topic_id: str
    offset: int
    ts: int | None


class _UncertainRecordError(Exception):
    """A record that may be an outcome of a worker, and does not show of which reading."""


_OutcomeOf: TypeAlias = Callable[[Message], _Outcome | None]
"""The outcome in a record; None: another program wrote it.

Raises:
    _UncertainRecordError: a worker may have written it.
"""


class _Newest(NamedTuple):
    """Of each partition of an output: the newest outcomes, and why there may be a newer one that cannot be read."""

    outcomes: dict[int, deque[_Outcome]]
    doubts: dict[int, str]


class _Evidence(NamedTuple):
    """What the outputs show about one partition.

    Attributes:
        outcomes: the newest ones, of every input topic that had this name.
        written: output topics that hold, or once held, records of workers.
        predictions_kept: whether no prediction after the newest one that is left was deleted.
    """

    outcomes: list[_Outcome]
    written: list[str]
    predictions_kept: bool


class Place(NamedTuple):
    """Where to continue.

    Attributes:
        offset: of the input partition; None: nothing was ever published about it, or only about a former topic.
        clock: a stream time, ms, that the partition had reached at that offset; None: the outputs do not show it.
        former_topic: whether all outcomes are about a deleted topic of the same name.
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
    """Find where partitions stopped.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        pipeline: names the topics.
        writer_schema_of: of the outputs.
        topic_id: of the input topic as it is now.
        ends: first offset and end of each input partition.
        margin: how many offsets before the newest outcome to start.
        beat: called regularly, because reading long topics takes time.

    Returns:
        By partition its place, or a text that says why the outputs do not show it.

    Raises:
        DependencyDownError: broker or registry does not answer, or a transaction is still open; call again.
    """
    with TopicReader(config, LOOP_PATIENCE_S) as reader:
        # To the uncommitted end: a predecessor's transaction may still be ending.
        spans = {
            role: reader.spans(topic, ends.keys(), committed=False)
            for role, topic in pipeline.topics.items()
            if role in (*_ROLES, "alarm_state")
        }
        newest = {
            role: _newest(
                reader, pipeline.topics[role], spans[role], _outcome_reader(pipeline, role, writer_schema_of), beat
            )
            for role in _ROLES
            if role in spans
        }
    found: dict[int, Place | str] = {}
    for partition, span in ends.items():
        doubts = [each.doubts[partition] for each in newest.values() if partition in each.doubts]
        if doubts:
            found[partition] = "; ".join(doubts)
        else:
            found[partition] = _place(_evidence(pipeline, partition, spans, newest), topic_id, span, margin)
    return found


def _evidence(
    pipeline: Pipeline, partition: int, spans: Mapping[str, Mapping[int, Span]], newest: Mapping[str, _Newest]
) -> _Evidence:
    outcomes = [outcome for each in newest.values() for outcome in each.outcomes.get(partition, ())]
    # A log that still has its first record, and no outcome, holds nothing but foreign or aborted records.
    without_ours = {
        role for role, each in newest.items() if spans[role][partition].low == 0 and partition not in each.outcomes
    }
    if "predictions" in without_ours and spans["predictions"][partition].high > 0:
        without_ours.add("alarm_state")  # its records are of the same transactions or from the same writers
    written = [
        pipeline.topics[role] for role, of in spans.items() if of[partition].high > 0 and role not in without_ours
    ]
    kept = partition in newest["predictions"].outcomes or "predictions" in without_ours
    return _Evidence(outcomes, written, predictions_kept=kept)


def _place(evidence: _Evidence, topic_id: str, source: Span, margin: int) -> Place | str:
    """The position according to the outputs, given the input topic's id and the span of its partition."""
    of_this_topic = [outcome for outcome in evidence.outcomes if not topic_id or outcome.topic_id in {"", topic_id}]
    next_offset = max((outcome.offset + 1 for outcome in of_this_topic), default=0)
    former_topic = bool(evidence.outcomes) and not of_this_topic and evidence.predictions_kept
    certain = bool(of_this_topic) and evidence.predictions_kept
    if former_topic or not evidence.written:
        return Place(None, former_topic=former_topic)
    if next_offset > source.high:
        return f"they hold an outcome of offset {next_offset - 1}, and the input ends at {source.high}"
    if source.low == source.high:  # nothing to score, but what was deleted before it was scored counts as lost
        return Place(next_offset if certain else source.high)
    if next_offset == source.high:
        return Place(source.high)
    if not certain:
        return f"records in {', '.join(evidence.written)} that would show it were deleted"
    # The earliest event time of the newest outcomes: a device whose clock is ahead must not shorten the rebuild.
    times = [outcome.ts for outcome in of_this_topic if outcome.ts is not None]
    return Place(max(next_offset - margin, 0), min(times) if times else None)


def _newest(
    reader: TopicReader, topic: str, spans: Mapping[int, Span], outcome_of: _OutcomeOf, beat: Callable[[], None]
) -> _Newest:
    """Search back from the end in growing steps, until each partition has an outcome or is read from its start."""
    newest = _Newest({}, {})
    searched_to: dict[int, int] = {partition: span.high for partition, span in spans.items()}
    for width in (*_SEARCH_WIDTHS, None):
        wanted = {
            partition: Span(span.low if width is None else max(span.low, span.high - width), searched_to[partition])
            for partition, span in spans.items()
            if partition not in newest.outcomes and searched_to[partition] > span.low
        }
        newest.doubts.update(_search(reader, topic, wanted, outcome_of, newest.outcomes, beat))
        searched_to |= {partition: span.low for partition, span in wanted.items()}
    return newest


def _search(
    reader: TopicReader,
    topic: str,
    spans: Mapping[int, Span],
    outcome_of: _OutcomeOf,
    outcomes: dict[int, deque[_Outcome]],
    beat: Callable[[], None],
) -> dict[int, str]:
    """Add the outcomes in these spans to `outcomes`; give the doubts about records behind the newest of them."""
    doubts: dict[int, str] = {}
    for messages in reader.read(topic, spans):
        beat()
        for message in messages:
            partition = message.partition()
            try:
                outcome = outcome_of(message)
            except _UncertainRecordError as error:
                doubts[partition] = f"{topic}/{partition}, offset {message.offset()}: {error}"
                continue
            if outcome is not None:
                outcomes.setdefault(partition, deque(maxlen=_OUTCOMES_KEPT)).append(outcome)
                doubts.pop(partition, None)
    return doubts


def _outcome_reader(pipeline: Pipeline, role: str, writer_schema_of: WriterSchemaOf) -> _OutcomeOf:
    if role == "dead_letters":
        return partial(_outcome_of_letter, pipeline.input.topic)
    schema, outputs, time = pipeline.records[role].schema, pipeline.outputs, pipeline.input.time

    def outcome_of(message: Message) -> _Outcome | None:
        if (value := value_of(message)) is None:
            return None
        try:
            record = outputs.with_engine_names(decode(value, writer_schema_of, schema))
        except UnreadableValueError as error:
            if may_be_ours(value, error):
                raise _UncertainRecordError(str(error)) from error
            return None
        if record.get("source_offset") is None or record.get("source_partition") != message.partition():
            raise _UncertainRecordError("it does not name the reading that it is about")
        ts = record.get(time) if role == "predictions" else None
        return _Outcome(record.get("source_topic_id") or "", record["source_offset"], ts)

    return outcome_of


def _outcome_of_letter(topic: str, message: Message) -> _Outcome | None:
    letter = letter_of(message)
    # Several input topics may share a dead-letter topic.
    if letter is None or letter.source[:2] != (topic, message.partition()):
        return None
    return _Outcome(letter.topic_id, letter.last_offset, None)
