"""Collects a Kafka client's log lines and error callbacks, which tell causes that its exceptions do not.

An exception of librdkafka reads "Broker transport failure" whether the port is closed, the certificate has expired or
the password is wrong. The cause goes to its log and its `error_cb`, which are only called while the client is polled.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from confluent_kafka import KafkaError

from common.log_limit import LINES
from common.redaction import redacted
from worker.kafka.connection_faults import Fault, explain, fault_of, is_disconnect

LogListener: TypeAlias = Callable[[str, str], None]
"""Called with each log line: librdkafka's facility (FAIL, REQTMOUT, ...) and the text."""
ErrorListener: TypeAlias = Callable[[KafkaError], None]

_LOGGER = logging.getLogger("librdkafka")
_LOGGER.addHandler(logging.NullHandler())  # for commands without logging, whose errors tell the cause
_BELIEVED_S = 30.0  # a client that cannot connect reports it every 2 s
_REASONS = 3
# Facilities that report causes; others report the client's reaction.
_TELLING = frozenset({"FAIL", "ERROR", "BROKER", "SASL", "SSL", "OAUTHBEARER", "REQTMOUT", "CLUSTERID", "PROTOERR"})


class _Report(NamedTuple):
    at_s: float
    fault: Fault | None
    text: str


class ClientReports:
    """Collects the reports of one client. Nothing here raises, because that would lose the batch of a `consume` call.

    Args:
        config: the client's properties.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._latest: dict[str, _Report] = {}
        self._log_listeners: list[LogListener] = []
        self._error_listeners: list[ErrorListener] = []
        self._explained: dict[tuple[str, str, str | None], tuple[float, str]] = {}

    def properties(self, *, errors: bool) -> dict[str, Any]:
        """Client properties that send the reports here.

        Args:
            errors: whether to set `error_cb` too. A producer with it raises a fatal error in whatever polls it next,
                delivery callbacks included; its log tells the same.
        """
        return {"logger": self} | ({"error_cb": self.note_error} if errors else {})

    def listen(self, *, logs: LogListener | None = None, errors: ErrorListener | None = None) -> None:
        """Add listeners for reports from now on. A listener must not raise."""
        if logs is not None:
            self._log_listeners.append(logs)
        if errors is not None:
            self._error_listeners.append(errors)

    def log(self, level: int, form: str, *details: str) -> None:
        """Take a log line. The client calls this as a method of a `logging.Logger`."""
        facility, _client, text = details if len(details) == 3 else ("", "", form % details)
        for listener in self._log_listeners:
            listener(facility, text)
        # Debugging output (several lines per transaction) is for the listeners only.
        if level < logging.INFO and not _LOGGER.isEnabledFor(level):
            return
        if level >= logging.INFO and facility in _TELLING:
            self._note(text)
        held_back = LINES.admit(f"{facility} {text}") if level >= logging.INFO else 0
        if held_back is not None:
            _LOGGER.log(
                level, "%s %s%s", facility, redacted(text), f" ({held_back} more like this)" if held_back else ""
            )

    def note_error(self, error: KafkaError) -> None:
        """Take an error, as the client's `error_cb`."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's name; it has no cause
            self._note(error.str())
        for listener in self._error_listeners:
            listener(error)

    def _note(self, text: str) -> None:
        fault = fault_of(text)
        # Keep the latest fault of each broker, and other reports by their text.
        name = text if fault is None else f"{fault.address} {is_disconnect(fault)}"
        self._latest[name] = _Report(time.monotonic(), fault, text)
        while len(self._latest) > 2 * _REASONS:
            del self._latest[min(self._latest, key=lambda name: self._latest[name].at_s)]

    def reason(self) -> str | None:
        """Why the client fails, where, and the remedy; None if it reported nothing lately."""
        now = time.monotonic()
        recent = [report for report in list(self._latest.values()) if now - report.at_s < _BELIEVED_S]
        telling = [report for report in recent if report.fault is None or not is_disconnect(report.fault)]
        told = dict.fromkeys(
            self._explain(report) for report in sorted(telling or recent, reverse=True, key=lambda r: r.at_s)
        )
        return "; ".join(list(told)[:_REASONS]) or None

    def _explain(self, report: _Report) -> str:
        """The explanation of a report, cached: explaining a certificate fault takes a connection."""
        if report.fault is None:
            return redacted(report.text)
        key = report.fault.address, report.fault.words, report.fault.node
        said_s, words = self._explained.get(key, (0.0, ""))
        if not words or time.monotonic() - said_s > _BELIEVED_S:
            words = redacted(explain(report.fault, self._config))
            self._explained = {key: (time.monotonic(), words)} | dict(list(self._explained.items())[:_REASONS])
            self._explained[key] = time.monotonic(), words
        return words
