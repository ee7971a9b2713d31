"""Publishes a batch and commits its offsets in one Kafka transaction.

Errors are classified as in librdkafka's examples/transactions.c: fatal first, then abortable, then retriable.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from common.errors import DeniedError, DependencyDownError, UncertainError, UserError
from worker.kafka.client_config import error_text, producer
from worker.kafka.fatal_errors import ending
from worker.kafka.permissions import DENIED, denied_of
from worker.kafka.producing import PRODUCER_DEFAULTS, PRODUCER_FIXED, produce
from worker.kafka.records import Outgoing
from worker.kafka.request_log import RequestLog, with_requests

_LOG = structlog.get_logger(__name__)
_SOON_S = 6.0  # more than the timeouts given to the calls
_Calls: TypeAlias = queue.SimpleQueue[Callable[[], Any] | None]
_Outcomes: TypeAlias = queue.SimpleQueue[Exception | None]


class AbortedError(Exception):
    """The batch was not committed: seek back and process it again.

    Attributes:
        too_large: whether the cause is that a topic does not accept such a large batch of records.
    """

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class Publisher(Protocol):
    """Publishes the records of a batch and commits its offsets."""

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """Publish and commit.

        Raises:
            AbortedError: nothing was committed.
            UncertainError: it is not known whether the batch was committed.
        """
        ...

    def open(self) -> None:
        """Prepare for the first commit.

        Raises:
            DependencyDownError: the broker does not answer; call again.
            UserError: the broker refuses.
        """
        ...

    def close(self) -> None:
        """Close the connection to the broker."""
        ...


class TransactionalPublisher:
    """Exactly once. The transactional id is stable, so a restarted worker fences its predecessor's transaction.

    If a request got no answer, the broker may receive it during a later transaction, and end that one too early. So the
    producer is replaced before the next transaction: the new one has another epoch, and the broker refuses the request.
    """

    def __init__(
        self,
        config: dict[str, Any],
        consumer: Consumer,
        transactional_id: str,
        timeout_ms: int,
        waiting: Callable[[str], None] = lambda _: None,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect to the broker; see `open` for the rest.

        Args:
            config: client properties.
            consumer: whose offsets are committed.
            transactional_id: used by this publisher only.
            timeout_ms: how long the broker keeps a transaction open.
            waiting: called with the reason while a call waits for the broker.
            renewed: called when the producer is replaced.
        """
        self._consumer, self._waiting, self._renewed = consumer, waiting, renewed
        self._transactional_id = transactional_id
        self._timeout_s = timeout_ms / 1000
        self._config = config
        self._fixed = PRODUCER_FIXED | {"transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms}
        self._make_producer()
        # One thread for all calls, because starting a thread takes as long as some of them.
        self._calls, self._outcomes = _Calls(), _Outcomes()
        threading.Thread(target=_make, args=(self._calls, self._outcomes), name="transaction", daemon=True).start()

    def _make_producer(self) -> None:
        debug = with_requests(self._config.get("debug"))
        self._producer = producer(self._config, self._fixed | {"debug": debug}, PRODUCER_DEFAULTS)
        self._requests, self._opened = RequestLog(), False
        self._producer.reports.listen(logs=self._requests.note)

    def open(self) -> None:
        """See Publisher. Aborts the open transaction of a predecessor with the same transactional id."""
        try:
            self._returned(lambda: self._producer.init_transactions(5.0))
        except KafkaException as error:
            text = error_text(error, self._producer)
            if denied := denied_of(
                error, self._config, "transactional id", self._transactional_id, "Describe", "Write"
            ):
                raise DeniedError(denied) from error
            if error.args[0].fatal() and not error.args[0].retriable():
                raise UserError(f"the broker refuses transactions: {text}") from error
            raise DependencyDownError("broker", f"init_transactions: {text}") from error
        self._opened = True

    def _renew_if_in_doubt(self) -> None:
        """Replace the producer if a request of an earlier transaction may still take effect.

        Raises:
            DependencyDownError: the broker does not answer; no transaction was begun.
        """
        self._producer.poll(0)  # delivers the log lines so far
        if self._opened and (in_doubt := self._requests.in_doubt()):
            _LOG.warning("renewing the producer: requests without an answer may still take effect", requests=in_doubt)
            self._renewed()
            # In another thread, because the library takes time to end its own threads.
            threading.Thread(target=_discard, args=([self._producer],), name="discard", daemon=True).start()
            self._make_producer()
        if not self._opened:
            self.open()

    def commit(self, outgoing: Outgoing, offsets: list[TopicPartition]) -> None:
        """See Publisher.

        Raises:
            DependencyDownError: the producer had to be replaced, and the broker does not answer.
        """
        self._renew_if_in_doubt()
        self._requests.begin()
        deadline = time.monotonic() + self._timeout_s
        try:
            self._until(deadline, self._producer.begin_transaction)
            produce(self._producer, outgoing, deadline)
            metadata = self._consumer.consumer_group_metadata()
            self._until(deadline, lambda: self._producer.send_offsets_to_transaction(offsets, metadata, 5.0))
            # A commit is repeated until its result is known: giving up could publish the batch twice.
            self._until(float("inf"), lambda: self._producer.commit_transaction(5.0))
        except (KafkaException, BufferError) as error:
            self._abort(error)

    def _until(self, deadline: float, call: Callable[[], Any]) -> None:
        """Repeat a call while its error is retriable. librdkafka expects the same call again, not a new transaction."""
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
        """Make a call that should return within seconds but may not (librdkafka's issue 5456: a timeout is ignored).

        Raises:
            UncertainError: it did not return. The next producer with the same transactional id fences this one.
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
            raise ending(error) from error
        _LOG.warning("transaction aborted", reason=error_text(error))
        while True:
            try:
                self._returned(lambda: self._producer.abort_transaction(5.0))
            except KafkaException as failed:
                if failed.args[0].fatal():
                    raise ending(failed) from failed
                if not failed.args[0].retriable():
                    raise UncertainError(error_text(failed)) from failed
                # The abort must end before the next transaction begins.
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
        except Exception as error:  # noqa: BLE001 - raised again in the calling thread
            outcomes.put(error)
        else:
            outcomes.put(None)


def _discard(producers: list[Producer]) -> None:
    """Destroy a producer; the caller must not hold a reference to it."""
    producers.pop().purge()
