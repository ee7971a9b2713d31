"""Faults done to a site as planned, and mended again."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from tests.chaos.plan import Planned
from tests.chaos.site import BROKERS, NAMES, Site
from tests.harness import wait_until
from tests.kafka_proxy import Api, Rule

_LOG = structlog.get_logger("chaos")
_TICK_S = 0.1
_SERVER_BACK_S = 90.0
_SPREAD_S = 3.0
_TRANSACTION_WITHIN_S = 30.0


@dataclass
class Done:
    """A fault that was done.

    Attributes:
        kind: see plan.KINDS_S.
        target: what it was done to.
        began, ended: monotonic time of the fault, and of the mended state.
    """

    kind: str
    target: str
    began: float
    ended: float = 0.0


class Saboteur:
    """Does faults, each in a thread of its own. No two at a time hit the same worker, broker cluster or registry."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._busy: set[str] = set()
        self._acts: dict[str, Callable[[Planned, str], None]] = {
            "kill_worker": self._kill_worker,
            "pause_worker": self._pause_worker,
            "add_worker": lambda _, name: site.start_worker(name),
            "remove_worker": lambda _, name: site.stop_worker(name),
            "kill_broker": self._kill_broker,
            "cut_off_worker": self._cut_off_worker,
            "kill_registry": self._kill_registry,
            "cut_off_silently": self._cut_off_silently,
            "delay_end": self._delay_end,
        }
        self.done: list[Done] = []

    def run(self, planned: list[Planned], seconds: float, tell: Callable[[float], None]) -> None:
        """Do all that is planned, each at its time or as soon as there is something it can hit.

        Returns when the time is over and everything is mended. What could not be done in time is left out.

        Args:
            planned: in the order of their times.
            seconds: how long to go on.
            tell: is called often, with the seconds that have passed.
        """
        began, waiting, futures = time.monotonic(), list(planned), list[Future[None]]()
        with ThreadPoolExecutor() as pool:
            while (now_s := time.monotonic() - began) < seconds:
                tell(now_s)
                self._site.replace_dead(but=self._busy)
                for fault in [f for f in waiting if f.at_s <= now_s]:
                    targets = self._targets(fault.kind)
                    if now_s + fault.lasts_s > seconds:
                        waiting.remove(fault)
                    elif targets:
                        waiting.remove(fault)
                        target = targets[int(fault.draw * len(targets))]
                        self._busy.add(target)
                        futures.append(pool.submit(self._do, fault, target))
                for future in [f for f in futures if f.done()]:
                    futures.remove(future)
                    future.result()
                time.sleep(_TICK_S)
        for future in futures:
            future.result()

    def _targets(self, kind: str) -> list[str]:
        """What a fault of this kind can be done to now."""
        workers = self._site.workers
        if kind == "add_worker":
            return [name for name in NAMES if name not in workers and name not in self._busy]
        if kind == "kill_registry":
            return [] if "registry" in self._busy else ["registry"]
        if kind == "kill_broker":
            # With min.insync.replicas=2 of 3, a second broker down would stop all writes.
            brokers = [f"broker-{node}" for node in range(BROKERS)]
            return brokers if self._busy.isdisjoint(brokers) and self._site.is_in_sync() else []
        free = sorted(workers.keys() - self._busy)
        return free if kind != "remove_worker" or len(workers) > 2 else []

    def _do(self, fault: Planned, target: str) -> None:
        done = Done(fault.kind, target, time.monotonic())
        self.done.append(done)
        _LOG.info("fault", kind=fault.kind, target=target, lasts_s=round(fault.lasts_s, 1), silent=fault.silent)
        try:
            self._acts[fault.kind](fault, target)
            done.ended = time.monotonic()
            _LOG.info("mended", kind=fault.kind, target=target, after_s=round(done.ended - done.began, 1))
        finally:
            self._busy.discard(target)

    def _kill_worker(self, fault: Planned, name: str) -> None:
        self._site.workers[name].kill()
        time.sleep(fault.lasts_s)
        self._site.start_worker(name)

    def _pause_worker(self, fault: Planned, name: str) -> None:
        process = self._site.workers[name].process
        process.send_signal(signal.SIGSTOP)
        time.sleep(fault.lasts_s)
        process.send_signal(signal.SIGCONT)

    def _cut_off_worker(self, fault: Planned, name: str) -> None:
        way = self._site.ways[name]
        way.shut(silent=fault.silent)
        time.sleep(fault.lasts_s)
        way.open(silent=fault.silent)

    def _cut_off_silently(self, fault: Planned, name: str) -> None:
        """For longer than the client waits for an answer; what it sent arrives in disorder afterwards."""
        way = self._site.ways[name]
        way.shut(silent=True)
        time.sleep(fault.lasts_s)
        way.open(silent=True, spread_s=_SPREAD_S)
        time.sleep(_SPREAD_S)

    def _delay_end(self, fault: Planned, name: str) -> None:
        """Have the broker get a worker's EndTxn inside one of its later transactions."""
        proxy = self._site.ways[name].proxy
        (caught,) = proxy.apply([Rule(Api.END_TXN, "hold", cut=not fault.silent, least_s=fault.lasts_s)])
        # A worker without partitions has no transactions, and one that lost them meanwhile begins no other.
        if caught.caught.wait(_TRANSACTION_WITHIN_S) and caught.done.wait(_TRANSACTION_WITHIN_S):
            _LOG.info("late EndTxn answered", target=name, error=caught.answer)
        proxy.apply([])

    def _kill_broker(self, fault: Planned, name: str) -> None:
        node = int(name.removeprefix("broker-"))
        broker = self._site.cluster.servers[node]
        broker.kill()
        time.sleep(fault.lasts_s)
        broker.launch()
        wait_until(lambda: self._site.is_in_sync(node), f"{name} is back and in sync", _SERVER_BACK_S)

    def _kill_registry(self, fault: Planned, _: str) -> None:
        self._site.registry.kill()
        time.sleep(fault.lasts_s)
        self._site.registry.launch()
        wait_until(self._site.registry_answers, "the registry is back", _SERVER_BACK_S)
