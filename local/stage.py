"""A pipeline that runs on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from common.errors import UserError
from local.check_predictions import Check, check_predictions
from local.process import http_client, stop
from local.worker_process import start_worker, stop_worker
from producers.rows import publish_rows
from training.run.replay import Replay
from worker.config.pipeline import Pipeline, load_pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topics import create_topics

PARTITIONS = 3
_SWITCH_S = 180.0
# Threads of scikit-learn's trees wait for each other longer than they work, above all on a busy machine.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@dataclass
class Stage:
    """Broker and MLflow, and a worker while it runs.

    Attributes:
        pipeline_file: of the pipeline that the worker runs.
        directory: of logs and reports.
        address: of the worker's sidecar.
    """

    pipeline_file: Path
    bootstrap: str
    tracking_uri: str
    directory: Path
    address: str = ""

    @cached_property
    def pipeline(self) -> Pipeline:
        """What the file says."""
        return load_pipeline(str(self.pipeline_file))

    def create_topics(self) -> None:
        """Create the pipeline's topics."""
        admin = admin_client(client_config(self.bootstrap))
        create_topics(admin, self.pipeline, partitions=PARTITIONS, replication_factor=1)

    @contextmanager
    def worker(self, model: str) -> Iterator[None]:
        """Run a worker during the block, and wait until it is ready.

        Args:
            model: its URI in MLflow.

        Raises:
            UserError: it does not become ready, or it ends with an error; the text has the end of its log.
        """
        options = ["--bootstrap", self.bootstrap, "--pipeline", str(self.pipeline_file), "--model", model]
        worker, self.address = start_worker(
            self.directory, options, {"MLFLOW_TRACKING_URI": self.tracking_uri, **_ENVIRONMENT}
        )
        try:
            yield
        except BaseException:
            stop([worker])
            raise
        stop_worker(worker)

    def replay(self, replay: Replay) -> Check:
        """Publish records, await their predictions, and check them."""
        rows = zip(replay.keys, replay.records, strict=True)
        addresses = publish_rows(self.pipeline, rows, bootstrap=self.bootstrap)
        return check_predictions(self.pipeline, self.bootstrap, self.tracking_uri, replay, addresses)

    def await_version(self, version: str) -> None:
        """Wait until the worker scores with a version of the model.

        Raises:
            UserError: it does not within three minutes.
        """
        attempts = Retrying(
            stop=stop_after_delay(_SWITCH_S), wait=wait_fixed(0.5), retry=retry_if_result(lambda now: now != version)
        )
        try:
            attempts(lambda: http_client().get(f"{self.address}/model", timeout=5.0).json().get("version"))
        except RetryError as error:
            raise UserError(
                f"the worker does not switch to version {version}; its log {self.directory / 'worker.log'} says why"
            ) from error
