"""Runs a shipped example pipeline: trains its model, starts everything, replays rows and checks the output."""

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from local.examples import Example
from local.kafka import kafka_broker
from local.mlflow_server import mlflow_server
from local.stage import Stage
from training.promotion.by_metric import CHAMPION
from training.run.train import Trained, table, train
from worker.config.pipeline import SHIPPED_PIPELINES
from worker.config.pipeline_file import FILE_NAME


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Attributes:
        data: file of rows of the user's own.
        seed: of everything that is random.
        tries: parameter sets to try for each candidate; None: as the recipe says.
    """

    data: Path | None = None
    seed: int = 0
    tries: int | None = None


def run_pipeline(example: Example, options: RunOptions, console: Console) -> dict[str, Any]:
    """Run everything on this machine, and return the result for the last line of the output.

    Raises:
        UserError: something cannot be started, or rows cannot be read; the text says what.
    """
    began = time.monotonic()
    name = example.recipe.name
    # Before the servers start, which takes a while: the user may have named a wrong file.
    rows = example.recipe.rows(options.data, options.seed)
    example = replace(example, recipe=replace(example.recipe, rows=lambda *_: rows))
    directory = Path(tempfile.mkdtemp(prefix=f"hazardstream-{name}-"))
    console.print(f"starting Kafka and MLflow (logs: {directory}) …")
    with kafka_broker(directory / "kafka") as bootstrap, mlflow_server(directory / "mlflow") as tracking_uri:
        stage = Stage(SHIPPED_PIPELINES / name / FILE_NAME, bootstrap, tracking_uri, directory)
        result = run_on(stage, example, options, console)
    return result | {"seconds": round(time.monotonic() - began, 1)}


def run_on(stage: Stage, example: Example, options: RunOptions, console: Console) -> dict[str, Any]:
    """As `run_pipeline`, with servers that run already."""
    recipe, pipeline = example.recipe, stage.pipeline
    trained = _train(example, options, stage.tracking_uri, console)
    stage.create_topics()
    console.print("starting the worker …")
    model = f"models:/{recipe.name}@{CHAMPION}"
    with stage.worker(model):
        replay = example.replay(recipe, trained, pipeline)
        console.print(f"replaying {len(replay.records):,} records …")
        check = stage.replay(replay)
        more = example.after(stage, trained, console) if example.after else {}
    return {
        "pipeline": pipeline.name,
        "model": f"{trained.comparison.served.name} version {trained.logged.version}",
        "rows": trained.rows.origin,
        **asdict(check),
        **more,
    }


def _train(example: Example, options: RunOptions, tracking_uri: str, console: Console) -> Trained:
    recipe = example.recipe
    rows = recipe.rows(options.data, options.seed)
    console.print(f"{len(rows.frame):,} rows: {rows.origin}", markup=False)
    console.print("training …")
    trained = train(recipe, rows, seed=options.seed, tries=options.tries, tracking_uri=tracking_uri)
    for line in [("model", "cross-validation", "test rows", ""), *table(recipe, trained.comparison)]:
        console.print(" {:<19} {:<26} {:<15} {}".format(*line), markup=False, highlight=False)
    return trained
