"""The worker as a member of its consumer group, by the classic protocol or by that of KIP-848."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from worker.config.settings import Settings
from worker.consume.assignment import Assignment
from worker.consume.group_watch import GroupWatch
from worker.kafka.client_config import ReportingConsumer, consumer

_JOIN_S = 5.0
_DEFAULTS = {
    # Limits what is fetched ahead: memory, and what a rewind has to fetch again.
    "queued.max.messages.kbytes": 65_536,
    # All partitions share one queue. A backlog of one must not block the others.
    "queued.min.messages": 20_000,
    "fetch.queue.backoff.ms": 20,
    "fetch.wait.max.ms": 100,
}


def group_consumer(config: Mapping[str, Any], settings: Settings, group_id: str) -> ReportingConsumer:
    """The group's consumer, not subscribed yet.

    Raises:
        UserError: librdkafka refuses a property.
    """
    static = {"group.instance.id": settings.instance_id} if settings.instance_id else {}
    fixed = static | {
        "group.id": group_id,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        # The worker sets every offset itself. It handles an offset out of range instead of skipping messages.
        "auto.offset.reset": "error",
    }
    if settings.group_protocol == "consumer":
        # The brokers decide the rest: session timeout, heartbeats, assignment.
        return consumer(config, fixed | {"group.protocol": "consumer"}, _DEFAULTS)
    classic = {
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": settings.heartbeat_interval_ms,
    }
    return consumer(config, fixed | classic, _DEFAULTS)


def join_first(
    settings: Settings,
    member: ReportingConsumer,
    assignment: Assignment,
    group_watch: GroupWatch,
    stop: threading.Event,
) -> None:
    """Fail if the group refuses a second member of this name, before this worker fences the producer of the first.

    With the classic protocol, the new member replaces the first one, and this does nothing.

    Raises:
        NameTakenError: there is such a member.
    """
    if settings.group_protocol != "consumer" or not settings.instance_id:
        return
    assignment.subscribe()
    deadline = time.monotonic() + _JOIN_S
    while not member.assignment() and time.monotonic() < deadline and not stop.is_set():
        # Only errors arrive: partitions are paused until their start offsets are known.
        message = member.poll(0.2)
        if message is not None and message.error() is not None:
            group_watch.note(message.error(), message.topic())
