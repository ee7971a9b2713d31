"""Series that are 0 from the start: `rate` and `increase` miss the first event of a series that appears with it."""

from collections.abc import Iterable

from common.dead_letter_reasons import DeadLetterReason
from schemas.access import DEPENDENCY as SCHEMA_REGISTRY
from worker.alarms.state_machine import ACTIVE, RTN
from worker.config.pipeline import Pipeline
from worker.observe.metrics import Metrics

_DEPENDENCIES = ("broker", "topics", "permissions", "group", "mlflow", "model", "model store", SCHEMA_REGISTRY)
_STAGES = ("decode", "validate", "features", "score", "alarms", "explain", "side_outputs", "encode", "publish")
_RECREATED = ("input", "alarm_state", "window_state")


def begin_at_zero(metrics: Metrics, pipeline: Pipeline, faults: tuple[str, ...]) -> None:
    """Make the series of all label values that are known before the first event.

    Args:
        metrics: of the worker.
        pipeline: names the sensors.
        faults: for which a model may be refused.
    """
    for dependency in _DEPENDENCIES:
        metrics.waits.labels(dependency)
        metrics.dependency_up.labels(dependency).set(1)
    for reason in DeadLetterReason:
        metrics.dead_letters.labels(reason)
    for sensor in pipeline.input.sensors():
        metrics.masked.labels(sensor)
    for stage in _STAGES:
        metrics.stage_seconds.labels(stage)
    for role in _RECREATED:
        metrics.recreated.labels(role)
    for watch in (metrics.champion_watch, metrics.challenger_watch):
        for fault in faults:
            watch.refused.labels(fault)
    for end in ("failed", "too_slow"):
        metrics.shadow.dropped.labels(end)
    for model in ("champion", "challenger"):
        metrics.shadow.alarms.labels(model)


def begin_alarms_at_zero(metrics: Metrics, priorities: Iterable[str]) -> None:
    """Make the series of the alarms with these priorities."""
    for priority in priorities:
        for state in (ACTIVE, RTN):
            metrics.transitions.labels(state, priority)
