"""Finds requests of a transactional producer that were sent and never answered, in the client library's log.

Such a request may still be on its way. If the broker receives it inside a later transaction of the same producer epoch,
it takes effect there (KIP-890): a late commit ends that transaction too early, a late abort discards it. librdkafka
repeats such requests without telling the application, so only its log shows them.

The log must prove that all went well. If the line of an answer or of an `EndTxn` is missing, or a later version of the
library words it differently, it looks like a request without an answer, and the producer is replaced.
tests/worker/kafka/test_producer_renewal.py checks that the library logs the other kinds of requests.
"""

import re

_PROTOCOL = "protocol"
_LINE = re.compile(r"\]: (\S+): (Sent|Received) (\w+?)(?:Request|Response) \(.*\bCorrId (\d+)")
_OF_A_TRANSACTION = {"AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "EndTxn"}
_END = "EndTxn"


def with_requests(debug: str | None) -> str:
    """The value of the client property `debug` that also logs each request and response."""
    return f"{debug},{_PROTOCOL}" if debug else _PROTOCOL


class RequestLog:
    """Follows the log of one producer, as a listener of `ClientReports`."""

    def __init__(self) -> None:
        self._unanswered: dict[tuple[str, str], str] = {}
        self._ended = True

    def note(self, facility: str, text: str) -> None:
        """Take a log line. The client calls this from `poll` and other calls that serve its queue."""
        if facility not in {"SEND", "RECV"} or (found := _LINE.search(text)) is None:
            return
        broker, direction, request, number = found.groups()
        if request not in _OF_A_TRANSACTION:
            return
        if direction == "Sent":
            self._unanswered[broker, number] = request
        elif self._unanswered.pop((broker, number), None) == _END:
            self._ended = True

    def begin(self) -> None:
        """Note that a transaction begins."""
        self._ended = False

    def in_doubt(self) -> list[str]:
        """Requests that may still take effect; call `poll` first. Empty if the next transaction is safe."""
        unanswered = sorted(set(self._unanswered.values()))
        return unanswered or ([] if self._ended else [_END])
