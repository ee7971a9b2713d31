"""Publish a batch and commit its offsets, in one Kafka transaction or, by setting, at least once.

The sorting of errors follows librdkafka's examples/transactions.c: fatal first, then abortable, then retriable.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from worker.errors import DeniedError, DependencyDownError, UncertainError, UserError
from worker.kafka_config import error_text, producer
from worker.outbox import Outgoing
from worker.permissions import DENIED, denied_of

_LOG = structlog.get_logger(__name__)
_SOON_S = 6.0  # more than the timeouts given to the calls
_Calls: TypeAlias = queue.SimpleQueue[Callable[[], Any] | None]
_Outcomes: TypeAlias = queue.SimpleQueue[Exception | None]
# What no other producer of ours would fare better with.
_FOR_GOOD = {
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001 - librdkafka's name
}


PRODUCER_FIXED: dict[str, Any] = {"enable.idempotence": True, "acks": "all"}
"""Properties of every producer that must not be changed."""
PRODUCER_DEFAULTS: dict[str, Any] = {
    "linger.ms": 2,
    # A broker ends a transaction a moment after it said so, and refuses the next one until then: by default it is
    # asked again after 100 ms (confluent-kafka-python's issue 967). Doubled each time.
    "retry.backoff.ms": 2,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 200_000,
    # Dead letters of the largest input records carry headers on top. The topic's own limit is checked at start.
    "message.max.bytes": 64_000_000,
}
"""Properties of every producer that the user's win over."""


class AbortedError(Exception):
    """The batch was not committed and left nothing behind: rewind and process it again.

    Attributes:
        too_large: whether because a topic does not take so large a batch of records.
    """

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class Publisher(Protocol):
    """Makes a batch's records and offsets durable together."""

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """Publish and commit.

        Raises:
            AbortedError: nothing was committed.
            UncertainError: it is not known whether it was.
        """
        ...

    def open(self) -> None:
        """Get ready.

        Raises:
            DependencyDownError: the broker does not answer; call again.
            UserError: it refuses.
        """
        ...

    def close(self) -> None:
        """Let go of the broker."""
        ...


class TransactionalPublisher:
    """Exactly once. The transactional id is stable: a restarted worker fences what its predecessor left open."""

    def __init__(
        self,
        config: dict[str, Any],
        consumer: Consumer,
        transactional_id: str,
        timeout_ms: int,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._consumer, self._waiting = consumer, waiting
        self._config, self._transactional_id = config, transactional_id
        self._timeout_s = timeout_ms / 1000
        transactional = {"transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms}
        self._producer = producer(config, PRODUCER_FIXED | transactional, PRODUCER_DEFAULTS)
        # One thread for all calls: to start one for each takes as long as some of them.
        self._calls, self._outcomes = _Calls(), _Outcomes()
        threading.Thread(target=_make, args=(self._calls, self._outcomes), name="transaction", daemon=True).start()

    def open(self) -> None:
        """See Publisher. Ends what a predecessor of the same transactional id left open."""
        try:
            self._producer.init_transactions(10.0)
        except KafkaException as error:
            words = error_text(error, self._producer)
            if denied := denied_of(
                error, self._config, "transactional id", self._transactional_id, "Describe", "Write"
            ):
                raise DeniedError(denied) from error
            if error.args[0].fatal() and not error.args[0].retriable():
                raise UserError(f"the broker refuses transactions: {words}") from error
            raise DependencyDownError("broker", f"init_transactions: {words}") from error

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """See Publisher."""
        deadline = time.monotonic() + self._timeout_s
        try:
            self._until(deadline, self._producer.begin_transaction)
            produce(self._producer, outgoing, deadline)
            metadata = self._consumer.consumer_group_metadata()
            self._until(deadline, lambda: self._producer.send_offsets_to_transaction(offsets, metadata, 5.0))
            # Once asked for, a commit is repeated until it is known how it ended: giving up could double the batch.
            self._until(float("inf"), lambda: self._producer.commit_transaction(5.0))
        except (KafkaException, BufferError) as error:
            self._abort(error)

    def _until(self, deadline: float, call: Callable[[], Any]) -> None:
        """Repeat a call while its error is retriable: librdkafka wants the same call again, not a new transaction."""
        while True:
            try:
                self._returned(call)
            except KafkaException as error:
                cause = error.args[0]
                if cause.fatal() or cause.txn_requires_abort() or not cause.retriable() or time.monotonic() > deadline:
                    raise
                self._waiting(error_text(error, self._producer))
            else:
                return

    def _returned(self, call: Callable[[], Any]) -> None:
        """Make a call that should return within seconds, and may not: librdkafka's issue 5456 (a timeout ignored).

        Raises:
            UncertainError: it did not. The producer is left to it; the next of its transactional id fences it.
        """
        self._calls.put(call)
        deadline = time.monotonic() + 2 * self._timeout_s
        while True:
            try:
                raised = self._outcomes.get(timeout=_SOON_S)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise UncertainError("a call to the broker does not return") from None
                self._waiting("a call to the broker has not returned yet")
                continue
            if raised is not None:
                raise raised
            return

    def _abort(self, error: BaseException) -> None:
        cause = error.args[0] if isinstance(error, KafkaException) else None
        if cause is not None and cause.fatal():
            raise _ending(error) from error
        _LOG.warning("transaction aborted", reason=error_text(error))
        while True:
            try:
                self._returned(lambda: self._producer.abort_transaction(5.0))
            except KafkaException as failed:
                if failed.args[0].fatal():
                    raise _ending(failed) from failed
                if not failed.args[0].retriable():
                    raise UncertainError(error_text(failed)) from failed
                # An abort in flight must end before the next transaction begins.
                self._waiting(error_text(failed, self._producer))
                continue
            break
        if cause is not None and cause.code() in DENIED:
            raise DeniedError(error_text(error)) from error
        too_large = cause is not None and cause.code() == KafkaError.MSG_SIZE_TOO_LARGE
        raise AbortedError(error_text(error, self._producer), too_large=too_large) from error

    def close(self) -> None:
        """See Publisher."""
        self._calls.put(None)
        self._producer.purge()


def _make(calls: _Calls, outcomes: _Outcomes) -> None:
    while (call := calls.get()) is not None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            outcomes.put(error)
        else:
            outcomes.put(None)


def _ending(error: BaseException) -> Exception:
    """What a fatal error is to be told as."""
    if error.args[0].code() in DENIED:
        return DeniedError(error_text(error))
    if error.args[0].code() in _FOR_GOOD:
        return UserError(
            f"the broker refuses this producer for good: {error_text(error)}; put that right and start again"
        )
    return UncertainError(error_text(error))


class AtLeastOncePublisher:
    """For brokers without transactions: after a crash, readings since the last commit come out again."""

    def __init__(self, config: dict[str, Any], consumer: Consumer, timeout_ms: int) -> None:
        self._consumer, self._timeout_s = consumer, timeout_ms / 1000
        self._failed: list[KafkaError] = []
        self._producer = producer(config, PRODUCER_FIXED | {"on_delivery": self._delivered}, PRODUCER_DEFAULTS)

    def open(self) -> None:
        """See Publisher."""

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """See Publisher."""
        self._failed.clear()
        try:
            produce(self._producer, outgoing, time.monotonic() + self._timeout_s)
            if self._producer.flush(self._timeout_s) or self._failed:
                self._producer.purge()
                too_large = any(failed.code() == KafkaError.MSG_SIZE_TOO_LARGE for failed in self._failed)
                reason = self._failed[0].str() if self._failed else "the broker did not confirm in time"
                raise AbortedError(reason, too_large=too_large)
            done = self._consumer.commit(offsets=offsets, asynchronous=False)
        except (KafkaException, BufferError) as error:
            self._producer.purge()
            raise AbortedError(error_text(error)) from error
        if refused := [place.error.str() for place in done or [] if place.error is not None]:
            raise AbortedError(refused[0])

    def close(self) -> None:
        """See Publisher."""
        self._producer.flush(self._timeout_s)


def produce(producer: Producer, outgoing: Outgoing, deadline: float) -> None:
    """Hand all records to the producer, waiting while its queue is full.

    Raises:
        BufferError: the queue stayed full until the deadline.
        KafkaException: a record was refused.
    """
    for (topic, partition), messages in outgoing.bulk.items():
        left = messages
        while left:
            producer.produce_batch(topic, left, partition=partition)
            # A full queue raises nothing: what was not taken has an error in its place.
            left = [{"key": m["key"], "value": m["value"]} for m in left if "_error" in m]
            _make_room(producer, deadline, full=bool(left))
    for record in outgoing.records:
        kept: dict[str, Any] = {"headers": record.headers} if record.headers else {}
        if record.timestamp:
            kept |= {"timestamp": record.timestamp}
        while True:
            try:
                producer.produce(record.topic, record.value, record.key, partition=record.partition, **kept)
            except BufferError:
                _make_room(producer, deadline, full=True)
            else:
                break
    producer.poll(0)


def _make_room(producer: Producer, deadline: float, *, full: bool) -> None:
    if full and time.monotonic() > deadline:
        raise BufferError("the producer's queue stayed full: the broker takes records too slowly")
    producer.poll(0.05 if full else 0)
