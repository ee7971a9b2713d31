"""Which requests of a transactional producer were sent and never answered, read from the client library's own log.

A request that was sent and not answered may still be on its way. If the broker gets it inside a later transaction of
the same producer epoch, it takes effect there (KIP-890): a late commit ends that transaction half-way, a late abort
throws it away. librdkafka repeats such requests without telling the application, so that nothing but its log shows it.

The log is read as evidence that all went well, not that something failed: a line that is missing, or that a later
version of the library words differently, looks like a request without an answer, and the producer is renewed.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

_PROTOCOL = "protocol"  # librdkafka's debug context that logs each request and each response
_LINE = re.compile(r"\]: (\S+): (Sent|Received) (\w+?)(?:Request|Response) \(.*\bCorrId (\d+)")
_OF_A_TRANSACTION = {"AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "EndTxn"}
_END = "EndTxn"


class RequestLog:
    """Stands in for the logger of one producer. Lines that are not debugging output go on to the real one."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take the place of the logger in a producer's properties; see `properties`."""
        asked: str = config.get("debug", "")
        self._logger: logging.Logger | None = config.get("logger")
        self._passes_on_debug = bool(asked)
        self._unanswered: dict[tuple[str, str], str] = {}
        self._ended = True
        self.properties: dict[str, Any] = {"logger": self, "debug": f"{asked},{_PROTOCOL}" if asked else _PROTOCOL}

    def log(self, level: int, template: str, facility: str, client: str, text: str) -> None:
        """Take a line. The client library calls it from `poll` and from other calls that serve its queue."""
        if facility in {"SEND", "RECV"} and (found := _LINE.search(text)):
            broker, direction, request, number = found.groups()
            if request in _OF_A_TRANSACTION:
                if direction == "Sent":
                    self._unanswered[broker, number] = request
                elif self._unanswered.pop((broker, number), None) == _END:
                    self._ended = True
        if self._logger is not None and (level > logging.DEBUG or self._passes_on_debug):
            self._logger.log(level, template, facility, client, text)

    def begin(self) -> None:
        """Note that a transaction begins."""
        self._ended = False

    def in_doubt(self) -> list[str]:
        """Requests that may still take effect; call `poll` first. Empty if the next transaction is safe from them."""
        unanswered = sorted(set(self._unanswered.values()))
        return unanswered or ([] if self._ended else [_END])
