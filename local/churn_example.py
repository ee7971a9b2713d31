"""Shows what becomes of the events of users: alarms against the truth, and the variant with finished features."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from rich.console import Console

from common.times import DAY_MS
from local.audit import read_all
from local.stage import Stage
from pipelines.churn.recipe import RECIPE, inputs_of, new_users
from pipelines.churn.users import HORIZON_DAYS
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from training.promotion.by_metric import CHAMPION
from training.run.replay import replay_of_rows
from training.run.train import Trained
from worker.alarms.state_machine import ACTIVE
from worker.config.pipeline import SHIPPED_PIPELINES
from worker.kafka.message import value_of

FEATURES_FILE = SHIPPED_PIPELINES / RECIPE.name / "features.yaml"
_EARLY_DAYS = 2 * HORIZON_DAYS
"""A risk raised this long before the user leaves still counts as right."""


def alarms_and_finished_features(stage: Stage, _trained: Trained, console: Console) -> dict[str, Any]:
    """Compare the alarms of the replay with the truth; then score finished features with a second worker.

    Returns:
        What was found, for the last line of the output.
    """
    alarms = _alarms(stage)
    console.print(
        f"alarms: {alarms['raised']} raised, {alarms['right']} of them right; {alarms['warned_of']} of "
        f"{alarms['leavers']} leavers warned of"
    )
    console.print("starting a worker for finished features …")
    other = replace(stage, pipeline_file=FEATURES_FILE, directory=stage.directory / "features")
    other.create_topics()
    users = new_users()
    rows = inputs_of(users).assign(**{name: users.events[name] for name in ("user_id", "ts")})
    rows[RECIPE.target] = users.leaves_soon(users.events)
    latest = rows.groupby("user_id").tail(3)
    with other.worker(f"models:/{RECIPE.name}@{CHAMPION}"):
        check = other.replay(replay_of_rows(RECIPE, latest, other.pipeline, np.zeros(len(latest), np.bool_)))
    return {"alarms": alarms, "later": asdict(check)}


def _alarms(stage: Stage) -> dict[str, int]:
    """Alarms raised, and how many of them are about users who leave; leavers, and how many were warned of."""
    users, lookup = new_users(), writer_schema_lookup(None, stage.pipeline.known_schemas)
    schema = stage.pipeline.records["alarms"].schema
    raised: dict[str, dict[str, Any]] = {}
    for message in read_all(stage.pipeline.topics["alarms"], stage.bootstrap):
        record = decode(value_of(message) or b"", lookup, schema)
        if record["state"] == ACTIVE:
            raised.setdefault(record["alarm_id"], record)
    right = {
        alarm: record["user_id"]
        for alarm, record in raised.items()
        if 0 <= users.leaves_at[record["user_id"]] - record["ts"] <= _EARLY_DAYS * DAY_MS
    }
    leavers = {user for user, left in users.leaves_at.items() if left <= users.end_ms}
    return {
        "raised": len(raised),
        "right": len(right),
        "leavers": len(leavers),
        "warned_of": len(leavers & set(right.values())),
    }
