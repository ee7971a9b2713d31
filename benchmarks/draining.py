"""Fill a topic with readings, and time from outside how fast a process commits them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from local.process import Server
from producers.fleet import Fleet
from producers.publish import Publisher, encoder
from worker.errors import UserError
from worker.kafka_config import client_config, error_text
from worker.pipeline import Pipeline

Tell = Callable[[int], None]
"""Takes how many readings are done."""


class Pace(NamedTuple):
    """How fast a process drained a topic.

    Attributes:
        readings_per_s: by the clock, which neighbours on the machine slow down.
        readings_per_cpu_s: by the processor time that the process took, which they hardly touch.
    """

    readings_per_s: float
    readings_per_cpu_s: float


class _Look(NamedTuple):
    at_s: float
    cpu_s: float
    committed: int


_PERIOD_MS = 10_000
_LOOK_EVERY_S = 0.01
_PATIENCE_S = 60.0
# A broker that has just made the topic of the groups' offsets says this for a moment.
_NO_GROUP_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def publish_readings(pipeline: Pipeline, bootstrap: str, *, modules: int, readings: int, tell: Tell) -> None:
    """Put readings of a healthy fleet on the input topic: valid all of them, the newest a minute old.

    Raises:
        UserError: the broker did not take them all.
    """
    steps = -(-readings // modules)
    start_ms = time.time_ns() // 1_000_000 - 60_000 - steps * _PERIOD_MS
    fleet = Fleet(modules, seed=1, start_ms=start_ms, period_ms=_PERIOD_MS)
    encode = encoder(pipeline, registry_url=None)
    publisher = Publisher(pipeline.input.topic, bootstrap)
    left = readings
    for step in fleet.steps(steps):
        columns = fleet.module_ids, fleet.rack_ids, step.ts.tolist(), step.values.tolist()
        for module, rack, ts, values in list(zip(*columns, strict=True))[:left]:
            sensors = [None if value != value else value for value in values]  # noqa: PLR0124 - NaN alone differs
            publisher.send(module, encode(module, rack, ts, sensors), "reading")
        left -= min(left, modules)
        tell(readings - left)
    if not publisher.flush() or publisher.delivered["reading"] != readings:
        raise UserError(f"the broker took {publisher.delivered['reading']} of {readings} readings: its log says why")


def time_draining(server: Server, bootstrap: str, group: str, topic: str, readings: int, tell: Tell) -> Pace:
    """Wait until a group has committed a whole topic, and give its pace.

    The clock runs from the first commit seen to the last, over the readings between them: the start of the process
    and the making of its first batch stay out. The group's offsets are looked at every 10 ms; in a
    transaction they become visible with its output.

    Args:
        server: the process that drains.
        bootstrap: broker addresses.
        group: its consumer group.
        topic: the input.
        readings: how many there are.
        tell: is told of the progress.

    Raises:
        UserError: it ended or stood still, or was done within one look.
    """
    # Without read_committed a look is not held up while a transaction is on its way.
    observer = Consumer(client_config(bootstrap) | {"group.id": group, "isolation.level": "read_uncommitted"})
    try:
        partitions = [
            TopicPartition(topic, n) for n in observer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        process = psutil.Process(server.process.pid)
        looks = [_Look(time.monotonic(), 0.0, 0)]
        while looks[-1].committed < readings:
            server.check_alive()
            committed, now = _committed(observer, partitions), time.monotonic()
            if committed > looks[-1].committed:
                cpu = process.cpu_times()
                looks.append(_Look(now, cpu.user + cpu.system, committed))
                tell(committed)
            elif now - looks[-1].at_s > _PATIENCE_S:
                raise UserError(
                    f"{server.name} stands still at {looks[-1].committed} of {readings} readings; {server.log_tail()}"
                )
            time.sleep(_LOOK_EVERY_S)
    finally:
        observer.close()
    first, last = looks[1], looks[-1]
    if first is last or first.cpu_s == last.cpu_s:
        raise UserError(f"{server.name} drained {readings} readings within one look; time it with more --readings")
    between = last.committed - first.committed
    return Pace(between / (last.at_s - first.at_s), between / (last.cpu_s - first.cpu_s))


def _committed(observer: Consumer, partitions: list[TopicPartition]) -> int:
    try:
        return sum(max(place.offset, 0) for place in observer.committed(partitions, timeout=10))
    except KafkaException as error:
        if error.args[0].code() in _NO_GROUP_YET:
            return 0
        raise UserError(f"the broker does not tell what is committed: {error_text(error)}; its log says why") from error
