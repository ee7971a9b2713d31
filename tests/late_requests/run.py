"""Run schedules, several at a time, and compare each output with an uninterrupted run."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from local.kafka import Gate, kafka_cluster
from local.process import free_ports
from tests.chaos.progress import Progress
from tests.comparison import FAULTS
from tests.flagship import SHIPPED_MODEL
from tests.fleet_content import fleet_content
from tests.harness import Stage, Worker, make_stage
from tests.kafka_proxy import Caught, KafkaProxy
from tests.late_requests.schedules import Schedule
from tests.uninterrupted import compare_with_uninterrupted_run

MUST_BE_ZERO = (*FAULTS, "behind", "died", "not_injected")
"""What must be 0; the last ones: messages never scored, workers that ended by themselves, rules that caught nothing."""
# Kafka's own default, for which the client's retry comes before the broker gives the transaction up.
_BROKER = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000"}
_INJECTED_WITHIN_S = 90.0
_DONE_WITHIN_S = 90.0
_AT_A_TIME = 4
_STEPS = 250
_POLL_S = 0.05
Launcher = Sequence[str]
DEFENDED: Launcher = ("-m", "hazardstream")


@dataclass
class Result:
    """What came of a schedule.

    Attributes:
        faults: count by name, see `MUST_BE_ZERO`.
        seconds: how long it took.
        notes: renewals and restarts of the workers; what the broker answered a late EndTxn.
        examples: of what is wrong.
    """

    schedule: Schedule
    faults: dict[str, int]
    seconds: float
    notes: dict[str, int | None]
    examples: list[str]

    def line(self) -> str:
        """One line to read."""
        wrong = {name: count for name, count in self.faults.items() if count}
        return f"{self.schedule.name}: {wrong or 'holds'} ({self.seconds} s, {self.notes})"


@dataclass
class Way:
    """A proxy, and where a worker finds it."""

    proxy: KafkaProxy
    bootstrap: str


@dataclass
class Site:
    """A broker, and ways to it through proxies."""

    bootstrap: str
    ways: list[Way]
    directory: Path


@contextmanager
def late_site(directory: Path) -> Iterator[Site]:
    """Start a broker that is reached through several proxies."""
    with ExitStack() as running:
        inner = free_ports(_AT_A_TIME)
        proxies = [KafkaProxy([port]) for port in inner]
        for proxy in proxies:
            running.callback(proxy.close)
        gates = [Gate([port], proxy.ports) for port, proxy in zip(inner, proxies, strict=True)]
        cluster = running.enter_context(kafka_cluster(directory / "kafka", nodes=1, gates=gates, settings=_BROKER))
        reached = [Way(proxy, f"127.0.0.1:{proxy.ports[0]}") for proxy in proxies]
        yield Site(cluster.bootstrap, reached, directory)


def run_all(
    directory: Path, chosen: list[Schedule], seed: int, tell: Callable[[Result], object], launcher: Launcher = DEFENDED
) -> list[Result]:
    """Run schedules side by side on one broker.

    Args:
        directory: gets data and logs.
        chosen: schedules.
        seed: of the readings.
        tell: is told of each that is done.
        launcher: of the workers, see `Stage.worker`.
    """
    with late_site(directory) as site, ThreadPoolExecutor(len(site.ways)) as pool:
        free: SimpleQueue[Way] = SimpleQueue()
        for way in site.ways:
            free.put(way)

        def one(numbered: tuple[int, Schedule]) -> Result:
            number, schedule = numbered
            way = free.get()
            try:
                result = run_schedule(site, way, schedule, f"late{number}", seed, launcher)
            finally:
                free.put(way)
            tell(result)
            return result

        return list(pool.map(one, enumerate(chosen)))


def run_schedule(
    site: Site,
    way: Way,
    schedule: Schedule,
    name: str,
    seed: int,
    launcher: Launcher = DEFENDED,
    steps: int = _STEPS,
) -> Result:
    """Run a worker on topics of its own, do what the schedule says, and compare.

    Args:
        site: the broker.
        way: to it; not used by anyone else meanwhile.
        schedule: what to do.
        name: of the topics.
        seed: of the readings.
        launcher: of the worker, see `Stage.worker`.
        steps: readings of each of twelve modules.
    """
    began = time.monotonic()
    directory = site.directory / name
    directory.mkdir()
    stage = make_stage(site.bootstrap, f"{name}.", directory, SHIPPED_MODEL)
    stage.publish(fleet_content(stage, steps, seed))
    caught = way.proxy.apply(list(schedule.rules))
    progress = Progress(stage)
    workers = Supervised(stage, way, launcher)
    try:
        workers.start()
        injected = workers.watch_until(caught[-1].caught, _INJECTED_WITHIN_S)
        if injected and schedule.kill == "at once":
            workers.kill_and_start()
        for each in caught:
            injected &= workers.watch_until(each.done, _INJECTED_WITHIN_S)
        if injected and schedule.kill == "later":
            workers.kill_and_start()
        deadline = time.monotonic() + _DONE_WITHIN_S
        while not progress.await_end(1.0) and time.monotonic() < deadline:
            workers.replace_dead()
        workers.stop()
        behind = progress.behind()
    finally:
        progress.close()
        workers.close()
    found = compare_with_uninterrupted_run(stage)[1]
    own = {"behind": behind, "died": workers.died, "not_injected": sum(not each.done.is_set() for each in caught)}
    faults = {fault: (found.faults | own)[fault] for fault in MUST_BE_ZERO}
    notes = workers.notes() | {"late_answer": _late_answer(caught)}
    return Result(schedule, faults, round(time.monotonic() - began, 1), notes, found.examples)


def _late_answer(caught: list[Caught]) -> int | None:
    return next((each.answer for each in caught if each.rule.action != "fail" and each.answer is not None), None)


class Supervised:
    """A worker that is started again when it dies, as by a supervisor."""

    def __init__(self, stage: Stage, way: Way, launcher: Launcher) -> None:
        self._stage, self._way, self._launcher = stage, way, launcher
        self._running = ExitStack()
        self._worker: Worker | None = None
        self._logs: list[Path] = []
        self.died = 0

    def start(self) -> None:
        """Start the worker, or its successor of the same name."""
        settings = {"bootstrap_servers": self._way.bootstrap, "batch_max_messages": "20"}
        self._worker = self._running.enter_context(self._stage.worker(self._launcher, **settings))
        self._logs.append(self._worker.log)

    def kill_and_start(self) -> None:
        """SIGKILL, and a successor."""
        assert self._worker is not None
        self._worker.kill()
        self.start()

    def replace_dead(self) -> None:
        """Start a successor if the worker has ended by itself."""
        assert self._worker is not None
        if self._worker.process.poll() is not None:
            self.died += 1
            self.start()

    def watch_until(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for an event, and keep the worker running; whether it came."""
        deadline = time.monotonic() + timeout_s
        while not event.wait(_POLL_S) and time.monotonic() < deadline:
            self.replace_dead()
        return event.is_set()

    def stop(self) -> None:
        """Stop the worker by SIGTERM."""
        assert self._worker is not None
        self.died += self._worker.stop() != 0

    def close(self) -> None:
        """End what still runs."""
        self._running.close()

    def notes(self) -> dict[str, int | None]:
        """How often the workers renewed their producer and restarted, as their logs say."""
        logs = "".join(log.read_text(errors="replace") for log in self._logs)
        return {"renewals": logs.count("renewing the producer"), "restarts": logs.count("restarting in place")}
