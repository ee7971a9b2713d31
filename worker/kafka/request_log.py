"""Which requests of a transactional producer were sent and never answered, read from the client library's own log.

A request that was sent and not answered may still be on its way. If the broker gets it inside a later transaction of
the same producer epoch, it takes effect there (KIP-890): a late commit ends that transaction half-way, a late abort
throws it away. librdkafka repeats such requests without telling the application, so that nothing but its log shows it.

The log is read as evidence that all went well, not that something failed. An answer or an `EndTxn` whose line is
missing, or worded differently by a later version of the library, looks like a request without an answer, and the
producer is renewed. That the library logs the other kinds when it sends them, tests/worker/test_producer_renewal.py
checks.
"""

import re

_PROTOCOL = "protocol"
_LINE = re.compile(r"\]: (\S+): (Sent|Received) (\w+?)(?:Request|Response) \(.*\bCorrId (\d+)")
_OF_A_TRANSACTION = {"AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "EndTxn"}
_END = "EndTxn"


def with_requests(debug: str | None) -> str:
    """The client's property `debug`, so that it logs each request and each response besides what it is told to log."""
    return f"{debug},{_PROTOCOL}" if debug else _PROTOCOL


class RequestLog:
    """Follows the log of one producer."""

    def __init__(self) -> None:
        self._unanswered: dict[tuple[str, str], str] = {}
        self._ended = True

    def note(self, facility: str, text: str) -> None:
        """Take a line: a listener of `ClientReports`. It is called from `poll` and others that serve its queue."""
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
        """Requests that may still take effect; call `poll` first. Empty if the next transaction is safe from them."""
        unanswered = sorted(set(self._unanswered.values()))
        return unanswered or ([] if self._ended else [_END])
