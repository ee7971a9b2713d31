"""Series that are 0 from the start: `rate` and `increase` miss the first event of a series that appears with it."""

from collections.abc import Iterable

from common.dead_letter_reasons import DeadLetterReason
from schemas.access import DEPENDENCY as SCHEMA_REGISTRY
from worker.alarms.rules import MODEL_NAME, Rule
from worker.alarms.state_machine import ACTIVE, RTN, AlarmPolicy
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


def begin_alarms_at_zero(metrics: Metrics, policy: AlarmPolicy | None, rules: Iterable[Rule]) -> None:
    """Make the series of the model's alarms, if it raises any, and of the rules'."""
    priorities = {MODEL_NAME: policy.priorities} if policy else {}
    for name, of in (priorities | {rule.name: rule.policy.priorities for rule in rules}).items():
        for priority in of:
            for kind in (ACTIVE, RTN):
                metrics.transitions.labels(kind, priority, name)
