"""Shows drift on a running pipeline: found by the monitor, answered by a model that is trained again."""

from typing import Any

import numpy as np
from rich.console import Console

from local.stage import Stage
from pipelines.housing.recipe import RECIPE
from pipelines.housing.rows import ten_years_later
from training.datasets.source import Rows, digest
from training.run.monitor import monitor_rows
from training.run.replay import replay_of_rows
from training.run.train import Trained, train

_RECENT = 4000


def drift_and_retraining(stage: Stage, trained: Trained, console: Console) -> dict[str, Any]:
    """Watch the rows of the replay, then those of ten years later; train again; replay with the new model.

    Returns:
        What was found, for the last line of the output.
    """
    rows, report = trained.rows.frame, stage.directory / "drift"
    usual = monitor_rows(RECIPE, rows, rows, stage.directory / "no-drift", tracking_uri=stage.tracking_uri)
    console.print(f"drift among the rows replayed: {'; '.join(usual.reasons) or 'none'}", markup=False)

    later = ten_years_later(rows)
    recent = later.sample(min(_RECENT, len(later)), random_state=0)
    held_out = np.isin(recent.index, trained.comparison.split.test.index)  # as in the training that follows
    replay = replay_of_rows(RECIPE, recent, stage.pipeline, held_out)
    before = stage.replay(replay)
    found = monitor_rows(RECIPE, rows, recent, report, tracking_uri=stage.tracking_uri)
    console.print(f"ten years later: {'; '.join(found.reasons) or 'no drift'}", markup=False)
    console.print(f"report: {report}/drift.png, {report}/drift.json", markup=False)
    result = {
        "drift": {"usual_rows": usual.retrain, "ten_years_later": found.retrain, "report": str(report)},
        "mae_before_retraining": before.metrics["mae"],
    }
    if not found.retrain:
        return result
    console.print("training again, on the rows of ten years later …")
    again = train(
        RECIPE,
        Rows(later, f"{trained.rows.origin}, ten years later", trained.rows.generated, digest(later)),
        tries=1,
        tracking_uri=stage.tracking_uri,
    )
    stage.await_version(again.logged.version)
    after = stage.replay(replay)
    wrong = {name: getattr(before, name) + getattr(after, name) for name in ("missing", "duplicates", "differing")}
    return result | {"retrained_to": again.logged.version, "mae_after_retraining": after.metrics["mae"], "later": wrong}
