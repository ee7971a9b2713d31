"""Publishes simulated readings at the pace of their event time, with bad records on request."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from common.errors import UserError
from common.times import HOUR_MS
from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS
from pipelines.battery_hazard.simulator.fleet import CAPACITY_AH, CELLS_IN_SERIES, SENSORS, Fleet, Step
from pipelines.battery_hazard.simulator.going_on import span_of
from pipelines.battery_hazard.simulator.messages import (
    DEAD_LETTER_KINDS,
    DUPLICATE,
    MASKED_KINDS,
    PUBLISHED,
    READING,
    Messages,
)
from pipelines.battery_hazard.simulator.physics.cell import CHEMISTRIES
from pipelines.battery_hazard.simulator.plant.sensing import LOW_CELL_V
from producers.kafka_publisher import Encoder, ReadingPublisher, encoder
from worker.config.pipeline import Pipeline, load_pipeline
from worker.score.event_time import EARLIEST_MS

log = structlog.get_logger(__name__)

_ENDLESS_FAULT_SPAN_MS = 6 * HOUR_MS
MODULES: dict[str, float | str] = {"cells_in_series": CELLS_IN_SERIES, "capacity_ah": CAPACITY_AH, "chemistry": "nmc"}
"""How modules are built by default, in the words of the pipeline's topology."""
_NEEDED = SENSORS[:LOW_CELL_V]


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate, how fast, and where to.

    Attributes:
        pipeline: name or path of the pipeline file; its input must be battery readings.
        speed: ratio of event time to wall time.
        duration_s: wall time; None runs until stopped.
        start_ms: event time of the first reading. By default it is chosen so that the run ends now.
        bad_rate: share of the readings that a bad record of a random kind is published with.
        mechanisms: mechanisms of faults to draw from (see
            `pipelines.battery_hazard.simulator.events.ground_truth`).
        nuisances: expected number per module-day of events that look like a hazard but are not.
        topology: how modules are built, see `MODULES`.
    """

    pipeline: str = "battery_hazard"
    modules: int = 64
    seed: int = 0
    faults: int = 0
    speed: float = 1.0
    duration_s: float | None = None
    period_ms: int = 10_000
    start_ms: int | None = None
    bad_rate: float = 0.0
    mechanisms: tuple[str, ...] = MECHANISMS
    nuisances: float = 0.0
    topology: Mapping[str, float | str] = field(default_factory=dict)
    bootstrap: str | None = None
    registry: str | None = None


@dataclass
class SimulationSummary:
    """What was published: counts of messages that the broker confirmed.

    Attributes:
        produced: all messages; readings + duplicates + all of `bad`.
        readings: messages that the worker scores, one per module and time step, including those of `masked`.
        masked: readings with one impossible value, by kind.
        bad: messages that become dead letters, by kind.
        duplicates: exact copies of readings, which the worker drops.
        failed: messages that the broker never confirmed.
        late: readings that are so much older than what the topic holds of their module that workers refuse them.
        faults: modules with a thermal runaway, including those that a neighbour set on fire.
        fault_truth: module, mechanism, onset, first sign and point of no return (ms) of each fault.
        nuisance_truth: module, kind, start and end (ms) of each nuisance.
        event_ms: event time of the last readings handed to the client.
        seconds: wall time.
        rate: produced messages per second of wall time.
    """

    modules: int
    faults: int
    fault_truth: list[dict[str, Any]]
    nuisance_truth: list[dict[str, Any]] = field(default_factory=list)
    produced: int = 0
    readings: int = 0
    masked: dict[str, int] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    failed: int = 0
    late: int = 0
    event_ms: int = 0
    seconds: float = 0.0
    rate: float = 0.0

    def update(self, publisher: ReadingPublisher, seconds: float) -> None:
        """Copy the publisher's counts."""
        delivered = publisher.delivered
        self.produced = delivered.total()
        self.masked = {kind: delivered[kind] for kind in MASKED_KINDS}
        self.bad = {kind: delivered[kind] for kind in DEAD_LETTER_KINDS}
        self.duplicates = delivered[DUPLICATE]
        self.readings = delivered[READING] + sum(self.masked.values())
        self.failed = publisher.failed
        self.seconds = round(seconds, 3)
        self.rate = round(self.produced / seconds, 1) if seconds else 0.0


def first_event_ms(options: SimulateOptions, now_ms: int) -> int:
    """Event time of the first reading, ms: the given one, or the latest with which event time never passes the clock.

    Raises:
        UserError: the run is endless and faster than the clock, so there is no such time.
    """
    if options.start_ms is not None:
        return options.start_ms
    if options.duration_s is None:
        if options.speed > 1:
            raise UserError(
                f"a run without end at speed {options.speed:g} would overtake the clock; "
                "give --duration, or --start in the past"
            )
        return now_ms
    return now_ms - max(0, round(options.duration_s * 1000 * (options.speed - 1)))


def _checked(options: SimulateOptions) -> tuple[Pipeline, str]:
    wrong = {
        "--modules": options.modules < 1,
        "--faults": not 0 <= options.faults <= options.modules,
        "--seed": options.seed < 0,
        "--speed": not 0 < options.speed < float("inf"),
        "--duration": options.duration_s is not None and not 0 < options.duration_s < float("inf"),
        "--period-s": options.period_ms < 1,
        "--mechanism": not options.mechanisms or not set(options.mechanisms) <= set(MECHANISMS),
        "--nuisances": not 0 <= options.nuisances < float("inf"),
        "--start (2000 or later)": options.start_ms is not None and options.start_ms < EARLIEST_MS,
        "--bad-rate": not 0 <= options.bad_rate <= 1,
    }
    if any(wrong.values()):
        names = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
        raise UserError(f"{names}: out of range; see hazardstream simulate --help")
    _check_built(options)
    pipeline = load_pipeline(options.pipeline)
    if not set(_NEEDED) <= set(pipeline.input.sensors()):
        raise UserError(
            f"pipeline {pipeline.name} takes {', '.join(pipeline.input.sensors())}, and simulate makes "
            f"battery readings ({', '.join(PUBLISHED)}); use --pipeline battery_hazard, or replay a file of your own"
        )
    return pipeline, pipeline.input.topic


def _encoder(pipeline: Pipeline, registry: str | None) -> Encoder:
    """Encoder of the values of `PUBLISHED` that the pipeline takes: older ones take none of cells."""
    taken = [i for i, name in enumerate(PUBLISHED) if name in pipeline.input.sensors()]
    encode = encoder(pipeline, registry, [PUBLISHED[i] for i in taken])
    return lambda key, group, ts_ms, values: encode(key, group, ts_ms, [values[i] for i in taken])


def _named(fleet: Fleet, truth: dict[str, Any]) -> dict[str, Any]:
    return {"module_id": fleet.module_ids[truth["module"]]} | {k: v for k, v in truth.items() if k != "module"}


def _fleet(options: SimulateOptions, start_ms: int, event_s: float | None) -> Fleet:
    built = {**MODULES, **options.topology}
    try:
        return Fleet(
            options.modules,
            options.seed,
            faults=options.faults,
            start_ms=start_ms,
            span_ms=_ENDLESS_FAULT_SPAN_MS if event_s is None else max(1, round(event_s * 1000)),
            period_ms=options.period_ms,
            mechanisms=options.mechanisms,
            nuisances=options.nuisances,
            cells_in_series=round(float(built["cells_in_series"])),
            capacity_ah=float(built["capacity_ah"]),
            chemistry=str(built["chemistry"]),
        )
    except ValueError as error:
        raise UserError(f"--faults, --mechanism, --topology: {error}") from error


def _check_built(options: SimulateOptions) -> None:
    built = {**MODULES, **options.topology}
    if unknown := built.keys() - MODULES.keys():
        raise UserError(f"--topology: unknown {', '.join(sorted(unknown))}; use {', '.join(MODULES)}")
    for name in ("cells_in_series", "capacity_ah"):
        if isinstance(value := built[name], str) or (name == "cells_in_series" and value != round(value)):
            raise UserError(f"--topology: {name}={value} is not a number of {name}")
    if (chemistry := built["chemistry"]) not in CHEMISTRIES:
        raise UserError(f"--topology: unknown chemistry={chemistry}; use {', '.join(CHEMISTRIES)}")
    if options.faults and chemistry != MODULES["chemistry"]:
        raise UserError(f"--topology: chemistry={chemistry} has no simulated faults; leave out --faults")


def _due_steps(
    fleet: Fleet,
    options: SimulateOptions,
    start_ms: int,
    event_s: float | None,
    publisher: ReadingPublisher,
    stop: threading.Event,
) -> Iterator[Step]:
    """Steps of the fleet, each when it is due, until the duration is over or `stop` is set."""
    steps = None if event_s is None else max(1, int(event_s * 1000 / options.period_ms))
    began = time.monotonic()
    began_ms = time.time_ns() // 1_000_000
    for number, step in enumerate(fleet.steps(steps)):
        ts_ms = int(step.ts.max())
        due_s = max((ts_ms - start_ms) / 1000 / options.speed, (ts_ms - began_ms) / 1000)
        while not stop.is_set() and (left := began + due_s - time.monotonic()) > 0:
            publisher.wait(min(left, 0.5))
        if stop.is_set():
            return
        if options.duration_s is not None and time.monotonic() - began > options.duration_s and number:
            behind_s = round(time.monotonic() - began - due_s, 1)
            log.warning("pace_not_kept", behind_s=behind_s, hint="fewer modules, or a lower speed")
            return
        yield step


def simulate(
    options: SimulateOptions,
    progress: Callable[[SimulationSummary], None] | None = None,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> SimulationSummary:
    """Publish a simulated fleet until its duration is over or `stop` is set.

    Event time advances at `options.speed` and never passes the wall clock, because the worker rejects readings from
    the future. Without `options.start_ms` it goes on after what the topic holds of these modules.

    Args:
        options: what to simulate.
        progress: called after each step with the counts so far.
        stop: set it to end early; messages already sent are still delivered.
        tell: called with what a user should know before the start.

    Returns:
        The counts, all confirmed by the broker.

    Raises:
        UserError: an option is out of range, the broker or registry does not answer, or messages were not delivered.
    """
    pipeline, topic = _checked(options)
    now_ms = time.time_ns() // 1_000_000
    wished_ms = first_event_ms(options, now_ms)
    stop = stop or threading.Event()
    encode = _encoder(pipeline, options.registry)
    publisher = ReadingPublisher(topic, options.bootstrap, stop)
    start_ms, event_s, late = span_of(options, pipeline, wished_ms, now_ms, tell)
    fleet = _fleet(options, start_ms, event_s)
    faults = [_named(fleet, vars(fault)) for fault in fleet.faults]
    nuisances = [_named(fleet, vars(nuisance)) for nuisance in fleet.nuisances]
    summary = SimulationSummary(options.modules, len(faults), faults, nuisances, late=late)
    messages = Messages(fleet, encode, options.bad_rate, pipeline.input.max_future_ms)
    began = time.monotonic()
    for step in _due_steps(fleet, options, start_ms, event_s, publisher, stop):
        for key, value, kind in messages.of(step, time.time_ns() // 1_000_000):
            publisher.send(key, value, kind)
        publisher.poll()
        summary.event_ms = int(step.ts.max())
        if progress is not None:
            summary.update(publisher, time.monotonic() - began)
            progress(summary)
    publisher.close()
    summary.update(publisher, time.monotonic() - began)
    if summary.failed:
        raise UserError(
            f"{summary.failed} messages were never confirmed by the broker ({publisher.last_error}), "
            f"{summary.produced} were; look at the broker, then start again"
        )
    return summary
