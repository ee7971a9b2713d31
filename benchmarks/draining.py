"""Measures from outside how fast processes commit the readings of a topic."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks.readings import Tell
from common.errors import UserError
from local.process import Server
from worker.kafka.client_config import client_config, error_text


class Pace(NamedTuple):
    """How fast processes drained a topic.

    Attributes:
        readings_per_s: by wall-clock time, which other load on the machine affects.
        readings_per_cpu_s: by CPU time of the processes, which other load hardly affects.
    """

    readings_per_s: float
    readings_per_cpu_s: float


class _Look(NamedTuple):
    at_s: float
    cpu_s: float
    committed: int


_LOOK_EVERY_S = 0.01
_PATIENCE_S = 60.0
# A broker that has just created its offsets topic reports this for a moment.
_NO_GROUP_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def time_draining(
    servers: Sequence[Server], bootstrap: str, group: str, topic: str, readings: int, tell: Tell, after: int = 1
) -> Pace:
    """Wait until a group has committed a whole topic, and return its rate.

    Time is measured from the first commit that is seen to the last, and readings are counted between these two. So the
    start of the process and its first batch do not count. The group's offsets are read every 10 ms. Offsets committed
    in a transaction become visible together with its output.

    Args:
        servers: the processes to measure.
        bootstrap: broker addresses.
        group: their consumer group.
        topic: the input.
        readings: how many it holds.
        tell: called with the progress.
        after: count from this number of committed readings.

    Raises:
        UserError: one ended, they made no progress, or they finished within one interval.
    """
    # Without read_committed, an open transaction does not delay the request.
    observer = Consumer(client_config(bootstrap) | {"group.id": group, "isolation.level": "read_uncommitted"})
    try:
        partitions = [
            TopicPartition(topic, n) for n in observer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        processes = [psutil.Process(server.process.pid) for server in servers]
        looks = [_Look(time.monotonic(), 0.0, 0)]
        while looks[-1].committed < readings:
            for server in servers:
                server.check_alive()
            committed, now = _committed(observer, partitions), time.monotonic()
            if committed > looks[-1].committed:
                cpu = [process.cpu_times() for process in processes]
                looks.append(_Look(now, sum(each.user + each.system for each in cpu), committed))
                tell(committed)
            elif now - looks[-1].at_s > _PATIENCE_S:
                raise UserError(
                    f"{servers[0].name} has stopped at {looks[-1].committed} of {readings} readings; "
                    f"{servers[0].log_tail()}"
                )
            time.sleep(_LOOK_EVERY_S)
    finally:
        observer.close()
    first, last = next(look for look in looks if look.committed >= after), looks[-1]
    if first is last or first.cpu_s == last.cpu_s:
        raise UserError(
            f"{servers[0].name} drained {readings} readings within one interval; measure with more readings"
        )
    between = last.committed - first.committed
    return Pace(between / (last.at_s - first.at_s), between / (last.cpu_s - first.cpu_s))


def _committed(observer: Consumer, partitions: list[TopicPartition]) -> int:
    try:
        return sum(max(place.offset, 0) for place in observer.committed(partitions, timeout=10))
    except KafkaException as error:
        if error.args[0].code() in _NO_GROUP_YET:
            return 0
        raise UserError(f"the broker does not report committed offsets: {error_text(error)}; see its log") from error
