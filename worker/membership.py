"""Whether another process has taken this worker's place in the group."""

import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.errors import DependencyDownError
from worker.kafka_config import error_text

_TIMEOUT_S = 5.0
_EVERY_S = 1.0


def superseded(admin: AdminClient, group_id: str, instance_id: str, session_s: float, stop: threading.Event) -> bool:
    """Look whether a process that is alive holds a static member's place, after this one has let go of it.

    The client calls a member fenced that was only cut off while it rejoined, just as if a successor had come. The
    difference: nobody keeps that member's session alive, so that it ends.

    Args:
        admin: asks the group's coordinator.
        group_id: the group.
        instance_id: name of the static member.
        session_s: session timeout.
        stop: ends the wait.

    Raises:
        DependencyDownError: the broker does not answer.
    """
    deadline = time.monotonic() + session_s + 2 * _EVERY_S
    while time.monotonic() < deadline and not stop.is_set():
        try:
            group = admin.describe_consumer_groups([group_id], request_timeout=_TIMEOUT_S)[group_id].result()
        except KafkaException as error:
            raise DependencyDownError("broker", f"group {group_id}: {error_text(error, admin)}") from error
        if all(member.group_instance_id != instance_id for member in group.members):
            return False
        stop.wait(_EVERY_S)
    return not stop.is_set()
