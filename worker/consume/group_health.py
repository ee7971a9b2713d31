"""Whether another process has taken this worker's place in the group."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException

from common.errors import DependencyDownError
from worker.kafka.client_config import error_text
from worker.kafka.group_description import describe_group

# Checks are up to 6 s apart. A shorter rebalance may be missed, and it restarts the sessions.
_GRACE_S = 10.0


class Succession:
    """Finds out whether another live process holds the place of a static member that this process has left.

    The client calls a member fenced that was only cut off while it rejoined, just as if a successor had come. The
    difference: nobody keeps that member's session alive, so the group drops it after the session timeout. That time
    does not run during a rebalance, which keeps every member that has asked to join, even one whose request was sent
    by this process before it was cut off. So only the time during which the group is stable counts.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        group_id: str,
        instance_id: str,
        session_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start watching.

        Args:
            config: see `worker.kafka.client_config.client_config`.
            group_id: the group.
            instance_id: name of the static member.
            session_s: session timeout.
            clock: gives seconds.
        """
        self._config, self._group_id, self._instance_id = config, group_id, instance_id
        self._needed_s, self._clock = session_s + _GRACE_S, clock
        self._member: str | None = None
        self._since = clock()

    def superseded(self) -> bool:
        """Whether another process holds the place.

        Raises:
            DependencyDownError: it cannot be known yet, or the broker does not answer; call again.
        """
        try:
            group = describe_group(self._config, self._group_id)
        except KafkaException as error:
            raise DependencyDownError("broker", f"group {self._group_id}: {error_text(error)}") from error
        holder = next((m.member_id for m in group.members if m.static and m.name == self._instance_id), None)
        if holder is None:
            return False
        if holder != self._member or group.state != "STABLE":
            self._member, self._since = holder, self._clock()
        if self._clock() - self._since > self._needed_s:
            return True
        raise DependencyDownError(
            "group",
            f"a member named {self._instance_id} is still in group {self._group_id}: either another worker of this "
            "name, or what is left of this worker from before it was cut off",
        )
