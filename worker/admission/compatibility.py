"""Checks that a worker can use a valid model for its pipeline: inputs, thresholds, speed."""

import time

import numpy as np
from pydantic import ValidationError

from common.text import shown
from common.validation_errors import fault_texts
from worker.alarms.rules import missing_features
from worker.alarms.state_machine import AlarmPolicy
from worker.config.alarm_section import overrides, raised_by_model, rules_of
from worker.config.pipeline import Pipeline
from worker.config.topology import texts_in
from worker.model.backends.plain_model import PlainModel
from worker.model.contract import Features, Model, Task
from worker.model.package import ModelPackage
from worker.model.package_files import PackageError
from worker.score.feature_plan import plan_for

_TIMED_ROWS, _TRIES = 1000, 3


def demanded_task(pipeline: Pipeline | None) -> Task | None:
    """The task that the pipeline file or its schema of predictions says; None: it is not said."""
    if pipeline is None or (pipeline.task is None and pipeline.outputs.predictions.given is None):
        return None
    return pipeline.expected_task


def require_compatible(model: Model, pipeline: Pipeline, *, max_ms: int) -> None:
    """Check that a pipeline can use a model.

    Args:
        model: verified.
        pipeline: whose records the model will score.
        max_ms: processor time, ms, that 1,000 readings may take.

    Raises:
        PackageError: it cannot.
    """
    require_fit(model, pipeline)
    alarm_policy(model, pipeline)
    if slow := too_slow(model, max_ms):
        raise PackageError("too_slow", slow)


def alarm_policy(model: Model, pipeline: Pipeline) -> AlarmPolicy | None:
    """The model's alarm policy with the pipeline's overrides, or that of the pipeline if the model brings none.

    Returns:
        The policy; None where the model raises no alarms: the pipeline has none, or only those of rules.

    Raises:
        PackageError: the overrides make the policy invalid, the pipeline's policy is not complete, or the model gives
            no probability of one class, by which alarms are raised.
    """
    changes, rules = overrides(pipeline.alarm), rules_of(pipeline.alarm)
    if pipeline.outputs.alarms is None or not raised_by_model(pipeline.alarm):
        return None
    if rules and not changes and (model.task is not Task.BINARY or model.policy is None):
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
            return AlarmPolicy.model_validate(changes)
        return model.policy.changed(changes)
    except ValidationError as error:
        raise PackageError("bad_thresholds", f"pipeline {pipeline.name}: alarm: {fault_texts(error)}") from error


def require_fit(model: Model, pipeline: Pipeline) -> None:
    """Check that the model's inputs can be computed from the pipeline's records.

    Raises:
        PackageError: they cannot.
    """
    if model.task is not pipeline.expected_task:
        raise PackageError(
            "wrong_output",
            f"model {model.name} {model.version} is a {model.task} model, and pipeline {pipeline.name} expects "
            f"{pipeline.expected_task}; write `task: {model.task}` in the pipeline file, or name another model",
        )
    plan_for(model, pipeline)
    if lacking := missing_features(rules_of(pipeline.alarm), model.numeric):
        raise PackageError(
            "wrong_signature",
            f"model {model.name} {model.version} has no feature {shown(', '.join(lacking))}, which rules of pipeline "
            f"{pipeline.name} are about; name a feature of the model, or a field of the readings",
        )
    if model.assessable is not None and (faults := model.assessable.faults(_texts(pipeline))):
        raise PackageError(
            "wrong_signature",
            f"pipeline {pipeline.name}: topology {'; '.join(faults)}, in topology.default, groups or keys",
        )
    if model.spec is None:
        return
    if lacking := [name for name in model.spec.sensors if name not in pipeline.input.sensors()]:
        raise PackageError(
            "wrong_signature",
            f"model {model.name} {model.version} was trained on the sensors {', '.join(model.spec.sensors)}, and "
            f"{pipeline.input.record.name} has no number {', '.join(lacking)}; train a model for this record",
        )
    if missing := sorted(set(model.spec.per.values()) - pipeline.topology.default.keys()):
        raise PackageError(
            "wrong_signature",
            f"pipeline {pipeline.name}: topology.default lacks {', '.join(missing)}, which the model needs",
        )


def _texts(pipeline: Pipeline) -> list[dict[str, str]]:
    return [texts_in(parameters) for parameters in pipeline.topology.declared]


def sample_rows(model: Model) -> Features:
    """Rows that a model scores: the golden rows of a package, or those that a plain model was tried with."""
    if isinstance(model, ModelPackage):
        return Features(model.golden, {})
    if isinstance(model, PlainModel):
        return model.proven.probes
    raise TypeError(f"no rows are known for a {type(model).__name__}")


def too_slow(model: Model, max_ms: int) -> str | None:
    """How a model exceeds the processor time, ms, that 1,000 readings may take; None: it does not."""
    samples = sample_rows(model)
    rows = samples.take(np.resize(np.arange(len(samples)), _TIMED_ROWS))
    best_ms = np.inf
    # The best of several, because the first fills caches. Processor time of this thread, which does all the scoring, so
    # that other load on the machine does not count.
    for _ in range(_TRIES):
        started = time.thread_time()
        model.predict(rows)
        best_ms = min(best_ms, (time.thread_time() - started) * 1000)
        if best_ms <= max_ms:
            return None
    return (
        f"model {model.name} {model.version} takes {best_ms:.0f} ms to score {_TIMED_ROWS} readings; "
        f"HAZARDSTREAM_MODEL_MAX_MS allows {max_ms} ms"
    )
