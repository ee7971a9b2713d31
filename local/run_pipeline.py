"""Runs a pipeline that comes along: trains its model, starts everything, replays rows and checks the output."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from local.examples import Example
from local.kafka import kafka_broker
from local.mlflow_server import mlflow_server
from local.stage import Stage
from local.worker_process import start_worker, stop_worker
from training.run.train import Trained, table, train
from worker.config.pipeline import FILE_NAME, load_pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics

PARTITIONS = 3


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
    recipe = example.recipe
    pipeline = load_pipeline(recipe.name)
    directory = Path(tempfile.mkdtemp(prefix=f"hazardstream-{recipe.name}-"))
    with _servers(directory, console) as (bootstrap, tracking_uri):
        trained = _train(example, options, tracking_uri, console)
        create_topics(admin_client(client_config(bootstrap)), pipeline, partitions=PARTITIONS, replication_factor=1)
        console.print("starting the worker …")
        worker, address = start_worker(
            directory, ["--bootstrap", bootstrap, "--pipeline", str(pipeline.folder / FILE_NAME)], tracking_uri
        )
        try:
            stage = Stage(pipeline, bootstrap, tracking_uri, address, directory)
            replay = example.replay(recipe, trained, pipeline)
            console.print(f"replaying {len(replay.records):,} records …")
            check = stage.replay(replay)
            more = example.after(stage, trained, console) if example.after else {}
        finally:
            stop_worker(worker)
    return {
        "pipeline": recipe.name,
        "model": f"{trained.comparison.served.name} version {trained.logged.version}",
        "rows": trained.rows.origin,
        **asdict(check),
        **more,
        "seconds": round(time.monotonic() - began, 1),
    }


@contextmanager
def _servers(directory: Path, console: Console) -> Iterator[tuple[str, str]]:
    console.print(f"starting Kafka and MLflow (logs: {directory}) …")
    with kafka_broker(directory / "kafka") as bootstrap, mlflow_server(directory / "mlflow") as tracking_uri:
        yield bootstrap, tracking_uri


def _train(example: Example, options: RunOptions, tracking_uri: str, console: Console) -> Trained:
    recipe = example.recipe
    rows = recipe.rows(options.data, options.seed)
    console.print(f"{len(rows.frame):,} rows: {rows.origin}", markup=False)
    console.print("training …")
    trained = train(recipe, rows, seed=options.seed, tries=options.tries, tracking_uri=tracking_uri)
    for line in table(recipe, trained.comparison):
        console.print("  {:<20} {:>22}  {:<18} {}".format(*line), markup=False)
    return trained
