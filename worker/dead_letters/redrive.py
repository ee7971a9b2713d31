"""Send dead letters back to the input topic, once each.

The records of a chunk and the marker that lists their letters are committed in one transaction, so a kill leaves both
or none. The transactional id belongs to the dead-letter topic: a new redrive fences the one before, waits until that
one's transaction has ended, and only then reads the markers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from common.dead_letter_reasons import DeadLetterReason
from common.errors import DependencyDownError, UncertainError, UserError
from worker.config.topic_rules import BROKER_DEFAULT_MAX_BYTES
from worker.dead_letters.recheck import Recheck
from worker.dead_letters.survey import Progress, write_offsets
from worker.encode.dead_letter import ATTEMPT, ORIGIN, REDRIVEN, Letter
from worker.kafka.client_config import admin_client
from worker.kafka.message import headers_of, key_of, time_of, value_of
from worker.kafka.publisher import AbortedError, TransactionalPublisher
from worker.kafka.records import Outgoing, Record, headers_size
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topic_reader import Span, TopicReader
from worker.kafka.topics import topic_settings

CHUNK_LETTERS = 500
CHUNK_BYTES = 4_000_000
# A killed redrive leaves a transaction open, and readers of the input topic wait until it times out.
TRANSACTION_TIMEOUT_MS = 10_000
_RECORD_OVERHEAD = 200  # bytes of a batch of one record, on top of its key, value and headers
_ATTEMPTS = 5  # to commit a chunk


class InputTopic(NamedTuple):
    """The topic to which letters are sent back.

    Attributes:
        max_bytes: largest record that it accepts.
        log_append_time: whether it has `LogAppendTime`.
        spans: the offsets that it holds.
        topic_id: its id; empty where the broker knows none.
    """

    name: str
    max_bytes: int
    log_append_time: bool
    spans: dict[int, Span]
    topic_id: str = ""


def input_topic(config: dict[str, Any], reader: TopicReader, name: str) -> InputTopic:
    """Ask the broker about the input topic.

    Raises:
        UserError: there is no topic of that name.
        DependencyDownError: no broker answers.
    """
    admin = admin_client(config)
    settings = topic_settings(admin, [name])[name]
    return InputTopic(
        name,
        int(settings.get("max.message.bytes", BROKER_DEFAULT_MAX_BYTES)),
        settings.get("message.timestamp.type") == "LogAppendTime",
        reader.spans(name),
        topic_id_of(admin, name),
    )


class CannotReturnError(Exception):
    """A letter that cannot be redriven. There are few different texts, so that they can be counted."""


class Originals:
    """Completes letters whose original was too large for the dead-letter topic, from the input topic."""

    def __init__(self, reader: TopicReader, source: InputTopic) -> None:
        self._reader, self._source = reader, source

    def complete(self, letter: Letter) -> Letter:
        """The letter with all parts of its original.

        Raises:
            CannotReturnError: it is of another topic, or the input topic no longer holds the original.
            DependencyDownError: the broker does not answer.
        """
        topic, partition, offset = letter.source
        if topic != self._source.name or partition not in self._source.spans:
            raise CannotReturnError(f"that are not from {self._source.name}, or from a partition that it does not have")
        if letter.reason == DeadLetterReason.UNREADABLE:
            raise CannotReturnError("that replace a batch that could not be read; produce its records again")
        if not letter.omitted:
            return letter
        if letter.topic_id and self._source.topic_id not in {"", letter.topic_id}:
            # The new topic has other records at the same offsets.
            raise CannotReturnError(
                f"without {', '.join(letter.omitted)} (too large for the dead-letter topic), and {topic} was deleted "
                "and created again since; produce the records again"
            )
        gone = f"without {', '.join(letter.omitted)} (too large for the dead-letter topic), no longer in {topic}"
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
    """The result of a redrive: the number of letters sent, and of those that could not be sent, by cause."""

    redriven: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass
class Preview:
    """The expected result: letters that would fail again, by reason, and those that could not be sent, by cause."""

    fail_again: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def preview(
    letters: Iterable[Letter], originals: Originals, source: InputTopic, recheck: Recheck, progress: Progress
) -> Preview:
    """The result that a redrive would have now. Nothing is sent.

    Raises:
        DependencyDownError: the broker or the schema registry does not answer.
    """
    result = Preview()
    for chunk in _chunks(letters, originals, source, result.skipped):
        result.fail_again.update(r.reason for r in recheck.rejections([letter for letter, _ in chunk]))
        progress(len(chunk))
    return result


def redriven_record(letter: Letter, source: InputTopic) -> Record:
    """The record to produce for a complete letter.

    Raises:
        CannotReturnError: it is too large with the headers that a redrive adds.
    """
    headers = [(name, value) for name, value in letter.headers if name not in {ATTEMPT, ORIGIN}]
    headers += [
        (ATTEMPT, str(letter.attempts + 1).encode()),
        (ORIGIN, f"{letter.partition}/{letter.offset}".encode()),
    ]
    size = len(letter.key or b"") + len(letter.value or b"") + headers_size(headers) + _RECORD_OVERHEAD
    if size > source.max_bytes:
        raise CannotReturnError(
            f"that are too large with the headers of a redrive; raise max.message.bytes of {source.name}"
        )
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
        letters: to send; none was redriven before, by a survey that began after `publisher` was opened.
        originals: completes them.
        publisher: see `open_publisher`.
        source: the input topic.
        dead_letter_topic: gets the markers.
        result: updated after each chunk.
        progress: called with the number of letters in each committed chunk.

    Raises:
        UserError: another redrive has taken over.
        DependencyDownError: the broker does not answer, or aborts several times in a row.
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
    """Read each chunk before its transaction begins, because readers of the input topic wait for an open one."""
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
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(0.2, max=5),
        reraise=True,
    )
    try:
        patience(publisher.commit, Outgoing({}, records), [])
    except AbortedError as error:
        raise DependencyDownError("broker", f"{_ATTEMPTS} transactions in a row were aborted: {error}") from error
    except UncertainError as error:
        raise UserError(
            f"another redrive of the same dead letters has taken over, or the broker was unreachable ({error}). "
            "No letter was sent twice. Run the command again to send the rest, which `hazardstream dlq list` counts"
        ) from error


def open_publisher(
    config: dict[str, Any], reader: TopicReader, source: InputTopic, dead_letter_topic: str
) -> TransactionalPublisher:
    """Fence another redrive of the same topic, and wait until its transaction has ended.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        reader: of the letters.
        source: the input topic.
        dead_letter_topic: that holds the letters.

    Raises:
        DependencyDownError: the broker does not answer.
        UserError: it refuses transactions.
    """
    # The limits of both topics apply to whole batches of records.
    one_batch = {"batch.size": min(source.max_bytes // 2, 1_000_000)}
    transactional_id = f"hazardstream-redrive-{dead_letter_topic}"
    publisher = TransactionalPublisher(config | one_batch, reader.consumer, transactional_id, TRANSACTION_TIMEOUT_MS)
    publisher.open()
    return publisher
