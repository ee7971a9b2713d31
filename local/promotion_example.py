"""Shows promotion and fallback on a running pipeline: a version promoted by hand, and the last good one again."""

from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from common.figures import figure
from local.stage import Stage
from training.fitting.recipe import Recipe
from training.promotion.by_metric import fall_back, promote
from training.run.replay import replay_of_training
from training.run.train import Trained, train

_ROWS = 200


def promotion_and_fallback(recipe: Recipe, stage: Stage, trained: Trained, console: Console) -> dict[str, Any]:
    """Train a second version, promote it, replay with it, return to the first, and replay again.

    Returns:
        What was done, for the last line of the output.
    """
    uri = stage.tracking_uri
    second = train(recipe, trained.rows, tries=1, seed=1, tracking_uri=uri)
    found, metric = second.promotion.found, second.promotion.metric
    versions = ", ".join(f"version {version} {figure(value)}" for version, value in found.items())
    console.print(f"{metric} on the test rows: {versions}")
    if not second.promotion.promoted:
        console.print(f"version {second.logged.version} is not better: promoting it by hand …")
        promote(recipe.name, second.logged.version, tracking_uri=uri)
    whole = replay_of_training(recipe, trained, stage.pipeline)
    few = replace(
        whole,
        keys=whole.keys[:_ROWS],
        records=whole.records[:_ROWS],
        inputs=whole.inputs.head(_ROWS),
        truth=whole.truth[:_ROWS],
        held_out=np.zeros(min(_ROWS, len(whole.held_out)), np.bool_),
    )
    stage.await_version(second.logged.version)
    checks = [stage.replay(few)]
    left, now = fall_back(recipe.name, tracking_uri=uri)
    console.print(f"returning from version {left} to version {now} …")
    stage.await_version(now)
    checks.append(stage.replay(few))
    wrong = {name: sum(getattr(c, name) for c in checks) for name in ("missing", "duplicates", "differing")}
    return {"promotion": {metric: found, "automatic": second.promotion.promoted}, "fallback_to": now, "later": wrong}
