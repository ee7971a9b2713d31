"""Where a run starts on a topic that holds readings already: after them, as workers refuse what is much older."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from common.times import iso_utc
from pipelines.battery_hazard.simulator.fleet import module_names
from producers.newest import newest_times
from worker.config.pipeline import Pipeline

if TYPE_CHECKING:
    from pipelines.battery_hazard.simulator.live import SimulateOptions


class RunSpan(NamedTuple):
    """Event time of a run.

    Attributes:
        start_ms: of the first step.
        event_s: length, seconds; None without end.
        late: readings that are so much older than what the topic holds of their module that workers refuse them.
    """

    start_ms: int
    event_s: float | None
    late: int


def span_of(
    options: "SimulateOptions", pipeline: Pipeline, wished_ms: int, now_ms: int, tell: Callable[[str], None]
) -> RunSpan:
    """The event time that a run covers: after all that the topic holds of its modules, unless the options name a start.

    Args:
        options: of the run.
        pipeline: names the topic.
        wished_ms: where the run would start on an empty topic.
        now_ms: wall clock.
        tell: called if the run starts later than wished, or if readings will be late.

    Raises:
        UserError: there is no such topic.
        DependencyDownError: broker or registry does not answer.
    """
    limit_ms = pipeline.input.max_future_ms  # workers refuse what is further ahead, and what is about as much older
    newest = newest_times(
        pipeline,
        module_names(options.modules),
        now_ms + limit_ms,
        bootstrap=options.bootstrap,
        registry=options.registry,
    )
    newest_ms = max(newest.values(), default=0)
    start_ms = wished_ms if options.start_ms is not None else max(wished_ms, newest_ms + options.period_ms)
    event_s = event_length_s(options, start_ms, now_ms)
    found = RunSpan(start_ms, event_s, late_readings(newest, start_ms, event_s, options.period_ms, limit_ms))
    if start_ms > wished_ms or found.late:
        tell(_told(options, pipeline.input.topic, newest_ms, found))
    return found


def event_length_s(options: "SimulateOptions", start_ms: int, now_ms: int) -> float | None:
    """Event time of a run, seconds, which does not pass the clock; None for a run without end."""
    if options.duration_s is None:
        return None
    until_the_end_s = (now_ms - start_ms) / 1000 + options.duration_s
    return max(min(options.duration_s * options.speed, until_the_end_s), options.period_ms / 1000)


def late_readings(
    newest: Mapping[str, int], start_ms: int, event_s: float | None, period_ms: int, lateness_ms: int
) -> int:
    """How many readings are older than what the topic holds of their module, by the lateness or more.

    Args:
        newest: event time (ms) of the newest reading that the topic holds of each module.
        start_ms: event time of the first step.
        event_s: of the run; None: without end.
        period_ms: from step to step.
        lateness_ms: from which workers refuse a reading.
    """
    steps = math.inf if event_s is None else max(1, event_s * 1000 // period_ms)
    return sum(int(min(steps, max(0, -(-(ts - lateness_ms - start_ms) // period_ms)))) for ts in newest.values())


def _told(options: "SimulateOptions", topic: str, newest_ms: int, span: RunSpan) -> str:
    there = f"{topic} has readings of these modules up to {iso_utc(newest_ms)}"
    if span.late:
        return (
            f"{there}: about {span.late:,} of the readings from {iso_utc(span.start_ms)} on will be dead letters "
            "(`late`); omit --start to go on after what is there"
        )
    goes_on = f"{there}; going on after them, from {iso_utc(span.start_ms)}"
    if span.event_s is None or span.event_s >= (options.duration_s or 0) * options.speed:
        return goes_on
    return f"{goes_on}. Event time must not pass the clock, so the run covers {span.event_s:,.0f} s of it"
