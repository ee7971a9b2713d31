"""Starts a peer, and measures from outside how fast its predictions come."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition
from tenacity import (
    RetryError,
    Retrying,
    retry,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_fixed,
)

from common.errors import UserError
from local.process import Server
from worker.kafka.client_config import client_config

Tell = Callable[[int], None]

_LOOK_EVERY_S = 0.05
_FIRST_S, _NEXT_S = 90.0, 30.0


@dataclass(frozen=True)
class Pace:
    """How fast predictions came, from the first that was seen to the last; the start does not count.

    Attributes:
        per_s: predictions per second.
        per_cpu_s: predictions per second of CPU time, over all processes of the peer.
        seconds: length of the measurement.
    """

    per_s: float
    per_cpu_s: float
    seconds: float


class Output:
    """How many predictions on a topic are visible to a consumer with this isolation level."""

    def __init__(self, topic: str, bootstrap: str, isolation: str = "read_committed") -> None:
        self._consumer = Consumer(
            client_config(bootstrap) | {"group.id": "peers-observer", "isolation.level": isolation}
        )
        numbers = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._places = [TopicPartition(topic, number) for number in numbers]

    # For a moment after a topic is created, its broker reports that it is not the leader.
    @retry(retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(15), wait=wait_fixed(0.1), reraise=True)
    def count(self) -> int:
        """The number so far; a transaction marker counts as one."""
        return sum(self._consumer.get_watermark_offsets(place, timeout=10)[1] for place in self._places)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def wait_for_open_transactions(topic: str, bootstrap: str) -> None:
    """Wait until the broker aborts a transaction that a stopped peer left open, because it hides later commits.

    Raises:
        UserError: a transaction is still open after 90 s.
    """
    committed, all_of_it = Output(topic, bootstrap), Output(topic, bootstrap, "read_uncommitted")
    try:
        ended = Retrying(
            stop=stop_after_delay(_FIRST_S), wait=wait_fixed(0.5), retry=retry_if_result(lambda ended: not ended)
        )
        ended(lambda: committed.count() == all_of_it.count())
    except RetryError as error:
        raise UserError(f"a transaction on {topic} is still open after {_FIRST_S:.0f} s") from error
    finally:
        committed.close()
        all_of_it.close()


@dataclass
class Looks:
    """Samples of a peer: time, CPU time, predictions."""

    server: Server
    seen: list[tuple[float, float, int]] = field(default_factory=list)

    def add(self, count: int) -> None:
        """Add a sample with this count."""
        self.seen.append((time.monotonic(), _cpu_s(self.server.process.pid), count))

    def pace(self) -> Pace:
        """The pace between the first and the last sample.

        Raises:
            UserError: there is only one sample.
        """
        if len(self.seen) < 2:
            raise UserError(f"{self.server.name} finished before a second sample; measure with more --readings")
        (start, cpu, count), *_, (end, cpu_end, count_end) = self.seen
        done = count_end - count
        return Pace(done / (end - start), done / (cpu_end - cpu) if cpu_end > cpu else 0.0, end - start)


def time_output(server: Server, output: Output, until: int, seconds: float, tell: Tell) -> Pace:
    """Watch a topic until it has this number of predictions, or the time is up.

    Args:
        server: the process that predicts.
        output: the topic of predictions.
        until: number of predictions after which to stop.
        seconds: time from the first prediction after which to stop.
        tell: called with the progress.

    Raises:
        UserError: it ended, or made no progress.
    """
    looks, last_news = Looks(server), time.monotonic()
    while not looks.seen or (looks.seen[-1][2] < until and looks.seen[-1][0] < looks.seen[0][0] + seconds):
        server.check_alive()
        count, now = output.count(), time.monotonic()
        if count > (looks.seen[-1][2] if looks.seen else 0):
            looks.add(count)
            tell(count)
            last_news = now
        elif looks.seen and now > looks.seen[0][0] + seconds:
            break
        elif now > last_news + (_NEXT_S if looks.seen else _FIRST_S):
            held = looks.seen[-1][2] if looks.seen else 0
            raise UserError(f"{server.name} has stopped at {held} predictions; {server.log_tail()}")
        time.sleep(_LOOK_EVERY_S)
    return looks.pace()


def _cpu_s(pid: int) -> float:
    """CPU time of a process and its descendants; those that have ended count with their parent."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return total
    return total
