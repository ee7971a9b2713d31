"""Why the group assigns no partition to this worker: what the coordinator refused, or the state of the group."""

import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from common.errors import DeniedError, FencedError, NameTakenError, UserError
from worker.kafka.client_config import ReportingConsumer, error_text
from worker.kafka.group_description import GroupDescription, describe_group
from worker.kafka.permissions import DENIED

_IDLE_S = 5.0  # after a start or a rebalance, partitions are usually assigned sooner
_EVERY_S = 10.0  # each description starts a process
_LOOK_S = 1.0
_BELIEVED_S = 15.0  # librdkafka joins again, and is refused again, every few seconds
_REMEDIES = {
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "a member of the group has another assignor or group protocol (a program "
    "that is no worker, or HAZARDSTREAM_GROUP_PROTOCOL): stop it, or set HAZARDSTREAM_GROUP_ID",
    KafkaError.INVALID_SESSION_TIMEOUT: "set HAZARDSTREAM_SESSION_TIMEOUT_MS to what the brokers allow: from "
    "group.min.session.timeout.ms to group.max.session.timeout.ms",
    KafkaError.INVALID_GROUP_ID: "set HAZARDSTREAM_GROUP_ID to a name that brokers take",
    KafkaError.GROUP_MAX_SIZE_REACHED: "the brokers' group.max.size allows no more members: stop some, or raise it",
    KafkaError.UNSUPPORTED_VERSION: "the brokers are too old for that: set HAZARDSTREAM_GROUP_PROTOCOL=classic",
    KafkaError._UNSUPPORTED_FEATURE: "set HAZARDSTREAM_GROUP_PROTOCOL=classic",  # noqa: SLF001 - librdkafka's name
    KafkaError.COORDINATOR_NOT_AVAILABLE: "the brokers have no coordinator for the group now: see __consumer_offsets",
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS: "the coordinator is reading its log",
    KafkaError.NOT_COORDINATOR: "the group's coordinator has moved",
    KafkaError.UNRELEASED_INSTANCE_ID: "a worker of this name runs: stop it, or set HAZARDSTREAM_INSTANCE_ID. After a "
    "kill the name is free once the brokers' group.consumer.session.timeout.ms is over",
    KafkaError.FENCED_INSTANCE_ID: "another worker has this name: set HAZARDSTREAM_INSTANCE_ID",
    KafkaError._MAX_POLL_EXCEEDED: "the loop took too long for a batch, and the group went on without it",  # noqa: SLF001
}
_REBALANCING = {"PREPARING_REBALANCING", "COMPLETING_REBALANCING"}


class GroupWatch:
    """Remembers what the coordinator refused, and describes the group while no partition is assigned.

    Args:
        consumer: the group's member.
        config: see `worker.kafka.client_config.client_config`.
        group_id: the group.
        topic: the topic that the group reads.
    """

    def __init__(self, consumer: ReportingConsumer, config: Mapping[str, Any], group_id: str, topic: str) -> None:
        self._consumer, self._config, self._group_id, self._topic = consumer, config, group_id, topic
        self._refused: tuple[float, str] | None = None
        self._idle_since: float | None = None
        self._asked: Future[GroupDescription] | None = None
        self._due = 0.0
        self._state = ""

    def note(self, error: KafkaError, topic: str | None) -> None:
        """Take an error that the consumer returned in place of a message.

        Raises:
            FencedError: another member has taken this one's name.
            NameTakenError: another member has this one's name.
            DeniedError: an ACL is missing.
            UserError: the consumer cannot continue.
        """
        text = error.str()
        if error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's name
            if "fenced" in text:
                raise FencedError(text)
            if KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str() in text:
                raise NameTakenError(f"{text}; {_REMEDIES[KafkaError.UNRELEASED_INSTANCE_ID]}")
            remedy = next((c for code, c in _REMEDIES.items() if KafkaError(code).str() in text), "correct that")
            raise UserError(f"the broker refuses this consumer for good: {text}; {remedy}, and start again")
        if error.code() in DENIED:
            raise DeniedError(f"{text} ({topic or self._group_id})")
        if known := _REMEDIES.get(error.code()):
            self._refused = time.monotonic(), f"{text}; {known}"

    def reason(self, *, idle: bool) -> str | None:
        """Why there is no partition, as a text for the user; None if there is one or the reason is not known yet.

        Args:
            idle: whether no partition is assigned.
        """
        now = time.monotonic()
        if not idle:
            self._idle_since = None
            self._refused = None
            self._state = ""
            return None
        self._idle_since = self._idle_since or now
        if self._refused and now - self._refused[0] < _BELIEVED_S:
            return f"group {self._group_id} does not take this worker: {self._refused[1]}"
        if now - self._idle_since < _IDLE_S:
            return None
        if self._asked is None and now >= self._due:
            self._due = now + _EVERY_S
            self._asked = Future()
            threading.Thread(target=self._ask, args=(self._asked,), name="group-description", daemon=True).start()
        if self._asked is not None and self._asked.done():
            self._state, self._asked = self._state_text(self._asked), None
        connection = self._consumer.reports.reason()
        return "; ".join(filter(None, (self._state, connection))) or None

    def _ask(self, answer: "Future[GroupDescription]") -> None:
        try:
            answer.set_result(describe_group(self._config, self._group_id))
        except KafkaException as error:
            answer.set_exception(error)

    def _partitions(self) -> int:
        try:
            return len(self._consumer.list_topics(self._topic, _LOOK_S).topics[self._topic].partitions)
        except KafkaException:
            return sys.maxsize  # not known, so no member is called spare

    def _state_text(self, answer: "Future[GroupDescription]") -> str:
        try:
            group = answer.result()
        except KafkaException as error:
            return f"group {self._group_id}: {error_text(error)}"
        members = sorted(f"{m.name} at {m.host} with {m.partitions} partitions" for m in group.members)
        listed = f"{len(members)} members ({', '.join(members[:5])}{', ...' if len(members) > 5 else ''})"
        if group.state in _REBALANCING:
            since = time.monotonic() - (self._idle_since or 0.0)
            return (
                f"group {self._group_id} has been rebalancing for {since:.0f} s among {listed}: it waits for members "
                "that do not join again: stop members that hang"
            )
        if group.state == "STABLE":
            if len(members) > self._partitions():
                return f"group {self._group_id} has fewer partitions than members: {listed}; this worker is spare"
            return (
                f"group {self._group_id} has given all partitions to others: {listed}; this worker waits until "
                "they give some up: stop members that hang"
            )
        return f"group {self._group_id} is {group.state.lower()}: this worker has not joined it yet"
