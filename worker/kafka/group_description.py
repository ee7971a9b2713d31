"""A consumer group as its coordinator describes it. It asks the coordinator in a separate process.

librdkafka may end the whole process (`Assertion eonce->refcnt > 0`, its issue 4605) if a connection is lost while an
admin request to a group's coordinator waits for an answer. And a worker asks just when it has lost its connection.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from worker.kafka.client_config import admin_client, error_text

_REQUEST_S = 5.0
_PROCESS_S = 20.0  # includes the start of Python, which is slow on a busy machine


class GroupMember(NamedTuple):
    """A member of a group.

    Attributes:
        member_id: assigned by the coordinator.
        name: its group.instance.id, else its client.id.
        static: whether it has a group.instance.id.
        host: from which it connects.
        partitions: number of partitions assigned to it.
    """

    member_id: str
    name: str
    static: bool
    host: str
    partitions: int


class GroupDescription(NamedTuple):
    """A group.

    Attributes:
        state: name of a `confluent_kafka.ConsumerGroupState`.
        members: its members.
        operations: that this client is allowed on the group, names of `confluent_kafka.admin.AclOperation`; None: the
            broker does not report them.
    """

    state: str
    members: list[GroupMember]
    operations: list[str] | None


def describe_group(config: Mapping[str, Any], group_id: str) -> GroupDescription:
    """Describe a group.

    Args:
        config: see `worker.kafka.client_config.client_config`.
        group_id: of the group.

    Raises:
        KafkaException: the broker refuses or does not answer.
    """
    plain = {name: value for name, value in config.items() if isinstance(value, str | int | float)}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "worker.kafka.group_description"],
            input=json.dumps((plain, group_id)),
            capture_output=True,
            text=True,
            timeout=_PROCESS_S,
            check=False,
            env=environment,
            start_new_session=True,  # signals to the worker's process group must not reach it
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode != 0:
        lost = KafkaError(KafkaError._TRANSPORT, "the group's coordinator does not answer")  # noqa: SLF001 - librdkafka's name
        raise KafkaException(lost)
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise KafkaException(KafkaError(*answer["error"]))
    members = [GroupMember(**member) for member in answer["members"]]
    return GroupDescription(answer["state"], members, answer["operations"])


def _ask(config: dict[str, Any], group_id: str) -> dict[str, Any]:
    admin = admin_client(config)
    try:
        asked = admin.describe_consumer_groups(
            [group_id], include_authorized_operations=True, request_timeout=_REQUEST_S
        )
        group = asked[group_id].result()
    except KafkaException as error:
        return {"error": [error.args[0].code(), error_text(error, admin)]}
    members = [
        GroupMember(
            member_id=m.member_id,
            name=m.group_instance_id or m.client_id,
            static=bool(m.group_instance_id),
            host=m.host,
            partitions=len(m.assignment.topic_partitions) if m.assignment else 0,
        )
        for m in group.members
    ]
    operations = group.authorized_operations
    return {
        "state": group.state.name,
        "members": [member._asdict() for member in members],
        "operations": None if operations is None else [operation.name for operation in operations],
    }


if __name__ == "__main__":
    json.dump(_ask(*json.load(sys.stdin)), sys.stdout)
