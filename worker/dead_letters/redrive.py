"""Send dead letters back to the input topic, once each.

The records of a chunk and the marker that names their letters are committed in one transaction, under a transactional
id that belongs to the dead-letter topic. So a kill in the middle leaves either both or none, and whoever redrives next
fences whoever was at it, waits for how that one's transaction ended, and only then looks at the markers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from common.dead_letter_reasons import DeadLetterReason
from common.errors import DependencyDownError, UncertainError, UserError
from worker.dead_letters.recheck import Judge
from worker.dead_letters.survey import Progress, write_offsets
from worker.encode.dead_letter import ATTEMPT, ORIGIN, REDRIVEN, Letter
from worker.kafka.client_config import admin_client
from worker.kafka.message import headers_of, key_of, time_of, value_of
from worker.kafka.publisher import AbortedError, TransactionalPublisher
from worker.kafka.records import Outgoing, Record, headers_size
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import Span, TopicReader
from worker.kafka.topic_roles import BROKER_DEFAULT_MAX_BYTES
from worker.kafka.topics import topic_settings

CHUNK_LETTERS = 500
CHUNK_BYTES = 4_000_000
# Readers of the input wait for what a killed redrive left open, so no longer than this.
TRANSACTION_TIMEOUT_MS = 10_000
_RECORD_OVERHEAD = 200  # bytes of a batch of one record, on top of its key, value and headers
_ABORTS_BORNE = 5


class InputTopic(NamedTuple):
    """Where letters go back to.

    Attributes:
        max_bytes: largest record it takes.
        stamps: whether it gives a record the broker's time (`LogAppendTime`).
        spans: offsets it holds.
        topic_id: its id; empty where the broker has none.
    """

    name: str
    max_bytes: int
    stamps: bool
    spans: dict[int, Span]
    topic_id: str = ""


def input_topic(config: dict[str, Any], reader: TopicReader, name: str) -> InputTopic:
    """Look at the input topic.

    Raises:
        UserError: there is none of that name.
        DependencyDownError: no broker answers.
    """
    admin = admin_client(config)
    settings = topic_settings(admin, name)
    return InputTopic(
        name,
        int(settings.get("max.message.bytes", BROKER_DEFAULT_MAX_BYTES)),
        settings.get("message.timestamp.type") == "LogAppendTime",
        reader.spans(name),
        topic_id_of(admin, name),
    )


class CannotReturnError(Exception):
    """A letter that cannot be redriven. The text is one of few, so that they can be counted."""


class Originals:
    """Gives letters as they were before they became letters, where need be from the input topic."""

    def __init__(self, reader: TopicReader, source: InputTopic) -> None:
        self._reader, self._source = reader, source

    def complete(self, letter: Letter) -> Letter:
        """The letter with all parts that were too large for the dead-letter topic.

        Raises:
            CannotReturnError: it came from another topic, or the input topic no longer has it.
            DependencyDownError: the broker does not answer.
        """
        topic, partition, offset = letter.source
        if topic != self._source.name or partition not in self._source.spans:
            raise CannotReturnError(f"not from {self._source.name}, or from a partition that it does not have")
        if letter.reason == DeadLetterReason.UNREADABLE:
            raise CannotReturnError("stand for a batch that could not be read; produce its records again")
        if not letter.omitted:
            return letter
        if letter.topic_id and self._source.topic_id not in {"", letter.topic_id}:
            # The new topic has other records at the same offsets.
            raise CannotReturnError(
                f"{', '.join(letter.omitted)} too large for the dead-letter topic, and {topic} has been deleted and "
                "created again since; produce the records again"
            )
        gone = f"{', '.join(letter.omitted)} too large for the dead-letter topic and no longer in {topic}"
        if offset >= self._source.spans[partition].high:
            raise CannotReturnError(gone)
        for messages in self._reader.read(topic, {partition: Span(offset, offset + 1)}):
            for message in messages:
                if message.offset() == offset and max(time_of(message), 0) == letter.timestamp_ms:
                    original: dict[str, Any] = {
                        "key": key_of(message),
                        "value": value_of(message),
                        "headers": headers_of(message),
                    }
                    return letter._replace(**{part: original[part] for part in letter.omitted})
        raise CannotReturnError(gone)


@dataclass
class Result:
    """What a redrive came to: letters sent, and those that could not be, by why."""

    redriven: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass
class Preview:
    """What would become of letters: those that would fail again, by reason, and those that cannot return, by why."""

    fail_again: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def preview(
    letters: Iterable[Letter], originals: Originals, source: InputTopic, judge: Judge, progress: Progress
) -> Preview:
    """Find out, without sending anything, what would become of letters as things stand now.

    Raises:
        DependencyDownError: the broker or the schema registry does not answer.
    """
    result = Preview()
    for chunk in _chunks(letters, originals, source, result.skipped):
        result.fail_again.update(r.reason for r in judge.rejections([letter for letter, _ in chunk]))
        progress(len(chunk))
    return result


def redriven_record(letter: Letter, source: InputTopic) -> Record:
    """The record to produce for a complete letter.

    Raises:
        CannotReturnError: with the attempt's headers it is too large.
    """
    headers = [(name, value) for name, value in letter.headers if name not in {ATTEMPT, ORIGIN}]
    headers += [
        (ATTEMPT, str(letter.attempts + 1).encode()),
        (ORIGIN, f"{letter.partition}/{letter.offset}".encode()),
    ]
    size = len(letter.key or b"") + len(letter.value or b"") + headers_size(headers) + _RECORD_OVERHEAD
    if size > source.max_bytes:
        raise CannotReturnError(f"with the attempt's headers too large; raise max.message.bytes of {source.name}")
    _, partition, _ = letter.source
    return Record(source.name, partition, letter.key, letter.value, headers, letter.timestamp_ms)


def redrive(
    letters: Iterable[Letter],
    originals: Originals,
    publisher: TransactionalPublisher,
    source: InputTopic,
    dead_letter_topic: str,
    result: Result,
    progress: Progress = lambda _: None,
) -> None:
    """Send letters back, chunk after chunk.

    Args:
        letters: those to send, none of them redriven before: surveyed after `publisher` was opened.
        originals: completes them.
        publisher: see `open_publisher`.
        source: the input topic.
        dead_letter_topic: gets the markers.
        result: kept up to date as chunks are committed.
        progress: told how many more are done.

    Raises:
        UserError: another redrive has taken over.
        DependencyDownError: the broker does not answer, or aborts again and again.
    """
    for chunk in _chunks(letters, originals, source, result.skipped):
        markers: dict[int, list[int]] = {}
        for letter, _ in chunk:
            markers.setdefault(letter.partition, []).append(letter.offset)
        records = [record for _, record in chunk]
        records += [
            Record(dead_letter_topic, partition, None, None, [(REDRIVEN, write_offsets(offsets))])
            for partition, offsets in markers.items()
        ]
        _commit(publisher, records)
        result.redriven += len(chunk)
        progress(len(chunk))


def _chunks(
    letters: Iterable[Letter], originals: Originals, source: InputTopic, skipped: Counter[str]
) -> Iterator[list[tuple[Letter, Record]]]:
    """Read a chunk before its transaction begins: readers of the input wait while one is open."""
    chunk: list[tuple[Letter, Record]] = []
    size = 0
    for letter in letters:
        try:
            complete = originals.complete(letter)
            record = redriven_record(complete, source)
        except CannotReturnError as error:
            skipped[str(error)] += 1
            continue
        chunk.append((complete, record))
        size += len(record.value or b"")
        if len(chunk) >= CHUNK_LETTERS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _commit(publisher: TransactionalPublisher, records: list[Record]) -> None:
    patience = Retrying(
        retry=retry_if_exception_type((AbortedError, DependencyDownError)),
        stop=stop_after_attempt(_ABORTS_BORNE),
        wait=wait_exponential(0.2, max=5),
        reraise=True,
    )
    try:
        patience(publisher.commit, Outgoing({}, records), [])
    except AbortedError as error:
        raise DependencyDownError("broker", f"transactions are aborted again and again: {error}") from error
    except UncertainError as error:
        raise UserError(
            f"stopped, as another redrive of the same dead letters has taken over, or the broker was away ({error}); "
            "nothing was doubled: run it again for what is left, which `hazardstream dlq list` counts"
        ) from error


def open_publisher(
    config: dict[str, Any], reader: TopicReader, source: InputTopic, dead_letter_topic: str
) -> TransactionalPublisher:
    """Fence whoever redrives the same letters, and wait for how its transaction ends.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        reader: of the letters.
        source: the input topic.
        dead_letter_topic: whose letters.

    Raises:
        DependencyDownError: the broker does not answer.
        UserError: it refuses transactions.
    """
    # Both topics' limits are for whole batches of records.
    one_batch = {"batch.size": min(source.max_bytes // 2, 1_000_000)}
    transactional_id = f"hazardstream-redrive-{dead_letter_topic}"
    publisher = TransactionalPublisher(config | one_batch, reader.consumer, transactional_id, TRANSACTION_TIMEOUT_MS)
    publisher.open()
    return publisher
