"""A whole chaos run: start everything, publish, do the faults, wait for all outcomes, and compare."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from schemas.registry import SchemaRegistry
from tests.chaos.content import Content
from tests.chaos.faults import Done, Saboteur
from tests.chaos.plan import plan
from tests.chaos.progress import Progress
from tests.chaos.site import NAMES, Site, site
from tests.comparison import FAULTS, Comparison
from tests.harness import wait_until
from tests.uninterrupted import compare_with_uninterrupted_run

Tell = Callable[[str], None]
_CALM_S = 3.0
"""Published before the first fault and after the last one."""
_ALL_OUTCOMES_S = 120.0


@dataclass
class Result:
    """What a run comes to.

    Attributes:
        faults, faults_by_kind: faults done.
        recovery_s: the longest time in which a partition was not scored while a fault lasted and until scoring went
            on; by kind, the median and the longest. Faults that overlap share it.
        seconds: from the first fault's begin to the last one's end, or as asked if that is longer.
        readings: messages on the input topic, bad ones among them.
        lost_input: messages that the producer was told were stored and that are not on the input topic (or doubles).
        behind: messages without an outcome when waiting for them was given up.
        alarms: transitions of an uninterrupted run.
        died: workers that ended by themselves, or did not end as asked.
        scored, dead_lettered, missing, duplicated, different, out_of_order, alarms_missing, alarms_extra,
            alarm_states_different: see `Comparison`.
    """

    faults: int
    faults_by_kind: dict[str, int]
    recovery_s: dict[str, dict[str, float]]
    seconds: float
    seed: int
    readings: int
    lost_input: int
    behind: int
    scored: int
    dead_lettered: int
    deduplicated: int
    missing: int
    duplicated: int
    different: int
    out_of_order: int
    alarms: int
    alarms_missing: int
    alarms_extra: int
    alarm_states_different: int
    died: int

    MUST_BE_ZERO = ("lost_input", "behind", *FAULTS, "died")

    @property
    def holds(self) -> bool:
        """Whether the output is that of an uninterrupted run, and there was something to be seen."""
        return not any(getattr(self, name) for name in self.MUST_BE_ZERO) and min(self.scored, self.alarms) > 0


def run(directory: Path, model: Path, seconds: float, seed: int, tell: Tell) -> Result:
    """Do a whole run.

    Args:
        directory: gets data and logs of all processes, and what the comparison found in `examples.txt`.
        model: package that the workers load.
        seconds: length of the fault phase.
        seed: of the faults and of the content.
        tell: is called with what is going on.
    """
    tell("starting brokers, registry and workers")
    with site(directory, model) as place, ThreadPoolExecutor() as pool:
        content = Content(place.stage.pipeline, SchemaRegistry(place.stage.registry_url or ""), seed, seconds)
        published_enough = threading.Event()
        publishing = pool.submit(content.publish, place.stage.bootstrap, published_enough)
        progress = Progress(place.stage)
        saboteur = Saboteur(place)
        try:
            wait_until(lambda: progress.behind() < np.iinfo(np.int64).max, "progress is seen")
            time.sleep(_CALM_S)
            began = time.monotonic()
            saboteur.run(
                list(plan(seconds, seed)),
                seconds,
                lambda now_s: tell(_state(now_s, seconds, saboteur, place, progress)),
            )
            took_s = time.monotonic() - began
            time.sleep(_CALM_S)
        finally:
            published_enough.set()
        publishing.result()
        tell("waiting for the last outcomes")
        behind = 0 if progress.await_end(_ALL_OUTCOMES_S) else progress.behind()
        if behind:
            _ask_workers(place, directory)
        progress.close()
        _stop_workers(place)
        tell("comparing with an uninterrupted run")
        expected, found = compare_with_uninterrupted_run(place.stage)
        readings = len(expected.probability) + len(expected.rejected) + expected.deduplicated
        result = Result(
            faults=len(saboteur.done),
            faults_by_kind=dict(sorted(Counter(f.kind for f in saboteur.done).items())),
            recovery_s=_recovery(saboteur.done, progress),
            seconds=round(took_s, 1),
            seed=seed,
            readings=readings,
            lost_input=abs(content.published - readings),
            behind=behind,
            deduplicated=expected.deduplicated,
            alarms=len(expected.transitions),
            died=len(place.died),
            scored=found.scored,
            dead_lettered=found.dead_lettered,
            **found.faults,
        )
        _write(directory, result, found, saboteur.done, place.died)
        return result


def _state(now_s: float, seconds: float, saboteur: Saboteur, place: Site, progress: Progress) -> str:
    return (
        f"{now_s:.0f} of {seconds:.0f} s: {len(saboteur.done)} faults, {len(place.workers)} workers, "
        f"{progress.behind()} messages behind"
    )


def _stop_workers(place: Site) -> None:
    place.replace_dead(but=set())
    for name in [name for name in NAMES if name in place.workers]:
        place.stop_worker(name)


def _recovery(done: list[Done], progress: Progress) -> dict[str, dict[str, float]]:
    by_kind: dict[str, list[float]] = {}
    for fault in done:
        by_kind.setdefault(fault.kind, []).append(progress.standstill_s(fault))
    return {
        kind: {"p50": round(float(np.median(each)), 2), "max": round(max(each), 2)}
        for kind, each in sorted(by_kind.items())
    }


def _ask_workers(place: Site, directory: Path) -> None:
    """Write down what the workers say of themselves, for whoever looks into why they do not go on."""
    for name, worker in place.workers.items():
        answer = worker.get("/health") if worker.process.poll() is None else None
        (directory / f"health-{name}.json").write_text(answer.text if answer else "no answer")


def _write(directory: Path, result: Result, found: Comparison, done: list[Done], died: list[str]) -> None:
    (directory / "examples.txt").write_text("\n".join([*died, *found.examples]))
    faults = [asdict(fault) for fault in done]
    (directory / "result.json").write_text(json.dumps({"result": asdict(result), "faults": faults}, indent=1))
