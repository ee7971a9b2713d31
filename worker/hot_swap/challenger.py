"""Brings the challenger into the shadow, and watches its alias as that of the champion."""

import threading
from collections.abc import Callable
from functools import partial

from common.errors import UserError
from worker.admission.compatibility import alarm_policy
from worker.admission.mlflow_source import MlflowSource
from worker.config.pipeline import Pipeline
from worker.config.settings import Settings
from worker.encode.shadow import Shadow
from worker.encode.shadow_records import ShadowRecords
from worker.hot_swap.alias_watcher import ModelWatch
from worker.model.contract import Model
from worker.observe.worker_status import Status

_LOOK_ONCE_A_DAY_S = 86_400.0


def shadow_for(settings: Settings, pipeline: Pipeline, prefix: bytes | None, status: Status) -> Shadow | None:
    """The shadow of a worker; None if no challenger is set.

    Args:
        settings: of the worker.
        pipeline: names the topic of shadow records.
        prefix: wire-format prefix of these records; None: single-object encoding.
        status: of the worker.

    Raises:
        UserError: the pipeline names no such topic.
    """
    if settings.challenger is None:
        return None
    if pipeline.monitor is None:
        raise UserError(
            f"HAZARDSTREAM_CHALLENGER is set, and pipeline {pipeline.name} has no `monitor` section that says where "
            "its scores go; see docs/model-life.md"
        )
    records = ShadowRecords(pipeline, pipeline.monitor.shadow, prefix)
    return Shadow(settings.challenger_share, settings.challenger_max_ms, records, status)


def watch_challenger(
    shadow: Shadow,
    settings: Settings,
    pipeline: Pipeline,
    find: Callable[[str], MlflowSource | None],
    status: Status,
    stop: threading.Event,
) -> None:
    """Bring the version behind the challenger's alias into the shadow, now and whenever the alias moves.

    Args:
        shadow: of the worker.
        settings: name the challenger.
        pipeline: its alarm overrides apply to the policy of the challenger.
        find: gives the MLflow source of a model URI.
        status: of the worker.
        stop: ends the watch.

    Raises:
        UserError: the challenger is not in MLflow.
    """
    source = find(settings.challenger or "")
    if source is None:
        raise UserError(
            f"HAZARDSTREAM_CHALLENGER={settings.challenger} is of no known form: write models:/NAME@challenger"
        )

    def adopt(model: Model) -> None:
        shadow.adopt(model, alarm_policy(model, pipeline), pipeline.topology)

    ModelWatch(
        source,
        settings.model_watch_ms / 1000 or _LOOK_ONCE_A_DAY_S,
        "",
        adopt,
        lambda _model: None,
        status.metrics.challenger_watch,
        partial(setattr, status, "challenger_watch"),
        stop,
        shadow.leave,
    ).start()
