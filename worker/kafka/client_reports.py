"""Collects a Kafka client's log lines and error callbacks, because its exceptions do not name causes.

An exception of librdkafka reads "Broker transport failure" whether the port is closed, the certificate has expired or
the password is wrong. The cause goes to its log and to `error_cb`, which are only called while the client is polled.
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
_LOGGER.addHandler(logging.NullHandler())  # for commands without logging: their error messages name the cause
_RECENT_S = 30.0  # a client that cannot connect reports it every 2 s
_REASONS = 3
# Facilities that report causes; others report the client's reaction.
_CAUSES = frozenset({"FAIL", "ERROR", "BROKER", "SASL", "SSL", "OAUTHBEARER", "REQTMOUT", "CLUSTERID", "PROTOERR"})


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
            errors: whether to set `error_cb` too. A producer with `error_cb` raises a fatal error in the next call that
                polls it, even in delivery callbacks. Its log has the same information.
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
        if level >= logging.INFO and facility in _CAUSES:
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
        """Why the client fails, where, and the remedy; None without a recent report."""
        now = time.monotonic()
        recent = [report for report in list(self._latest.values()) if now - report.at_s < _RECENT_S]
        causes = [report for report in recent if report.fault is None or not is_disconnect(report.fault)]
        explanations = dict.fromkeys(
            self._explain(report) for report in sorted(causes or recent, reverse=True, key=lambda r: r.at_s)
        )
        return "; ".join(list(explanations)[:_REASONS]) or None

    def _explain(self, report: _Report) -> str:
        """The explanation of a report, cached, because explaining a certificate fault opens a connection."""
        if report.fault is None:
            return redacted(report.text)
        key = report.fault.address, report.fault.text, report.fault.node
        explained_s, text = self._explained.get(key, (0.0, ""))
        if not text or time.monotonic() - explained_s > _RECENT_S:
            text = redacted(explain(report.fault, self._config))
            self._explained = {key: (time.monotonic(), text)} | dict(list(self._explained.items())[:_REASONS])
            self._explained[key] = time.monotonic(), text
        return text
