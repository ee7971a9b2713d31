"""Checks that a worker can use a valid model package for its pipeline: features, thresholds, speed."""

import time

import numpy as np
from pydantic import ValidationError

from common.validation_errors import fault_texts
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.model.contract import Model, Task
from worker.model.package import ModelPackage, PackageError

_TIMED_ROWS, _TRIES = 1000, 3


def require_compatible(package: ModelPackage, pipeline: Pipeline, *, max_ms: int) -> None:
    """Check that a pipeline can use a model.

    Args:
        package: verified.
        pipeline: whose records the model will score.
        max_ms: processor time, ms, that 1,000 readings may take.

    Raises:
        PackageError: it cannot.
    """
    require_fit(package, pipeline)
    alarm_policy(package, pipeline)
    _require_speed(package, max_ms)


def alarm_policy(model: Model, pipeline: Pipeline) -> AlarmPolicy | None:
    """The model's alarm policy with the pipeline's overrides, or that of the pipeline if the model brings none.

    Returns:
        The policy; None for a pipeline without alarms.

    Raises:
        PackageError: the overrides make the policy invalid, the pipeline's policy is not complete, or the model gives
            no probability of one class, by which alarms are raised.
    """
    if pipeline.outputs.alarms is None:
        return None
    if model.task is not Task.BINARY:
        raise PackageError(
            "bad_thresholds",
            f"model {model.name} {model.version} is for {model.task}, and pipeline {pipeline.name} raises alarms, for "
            "which the probability of one class is needed; take `alarms`, `alarm_state` and `alarm` out of the "
            "pipeline, or use a binary model",
        )
    try:
        if model.policy is None:
            return AlarmPolicy.model_validate(pipeline.alarm)
        return model.policy.changed(pipeline.alarm)
    except ValidationError as error:
        raise PackageError("bad_thresholds", f"pipeline {pipeline.name}: alarm: {fault_texts(error)}") from error


def require_fit(package: ModelPackage, pipeline: Pipeline) -> None:
    """Check that the model's features can be computed from the pipeline's records.

    Raises:
        PackageError: they cannot.
    """
    if package.spec.sensors != pipeline.input.sensors():
        raise PackageError(
            "wrong_signature",
            f"model {package.name} {package.version} was trained on the sensors {', '.join(package.spec.sensors)}, but "
            f"{pipeline.input.record.name} has {', '.join(pipeline.input.sensors())}; train a model for this record",
        )
    if missing := sorted(set(package.spec.per.values()) - pipeline.topology.default.keys()):
        raise PackageError(
            "wrong_signature",
            f"pipeline {pipeline.name}: topology.default lacks {', '.join(missing)}, which the model needs",
        )


def _require_speed(package: ModelPackage, max_ms: int) -> None:
    rows = np.resize(package.golden, (_TIMED_ROWS, package.golden.shape[1]))
    best_ms = np.inf
    # The best of several, because the first fills caches. Processor time of this thread, which does all the scoring, so
    # that other load on the machine does not count.
    for _ in range(_TRIES):
        started = time.thread_time()
        package.score(rows)
        best_ms = min(best_ms, (time.thread_time() - started) * 1000)
        if best_ms <= max_ms:
            return
    raise PackageError(
        "too_slow",
        f"model {package.name} {package.version} takes {best_ms:.0f} ms to score {_TIMED_ROWS} readings; "
        f"HAZARDSTREAM_MODEL_MAX_MS allows {max_ms} ms",
    )
