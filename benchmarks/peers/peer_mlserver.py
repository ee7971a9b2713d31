"""MLServer on Kafka: a custom runtime with adaptive batching; JSON requests whose features the client computed.

https://docs.seldon.ai/mlserver/examples/kafka, …/user-guide/custom, …/user-guide/adaptive-batching
"""

import json
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.cli import main as mlserver
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.job import Scorer, read_task

NAME = "hazard"


class Hazard(MLModel):
    """The model as a runtime of MLServer."""

    async def load(self) -> bool:
        """Load the model of the task; the settings name its file."""
        self._scorer = Scorer(read_task(self.settings.parameters.uri))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score a batch of feature rows."""
        features = NumpyCodec.decode_input(payload.inputs[0])
        probability = NumpyCodec.encode_output("hazard_probability", self._scorer.score(features)[:, None])
        return InferenceResponse(model_name=self.name, outputs=[probability])


def main(file: str) -> None:
    """Run until killed."""
    task = read_task(file)
    folder = Path(task.directory, "settings")
    folder.mkdir()
    settings = {
        "kafka_enabled": True,
        "kafka_servers": task.bootstrap,
        "kafka_topic_input": task.source,
        "kafka_topic_output": task.sink,
        "host": "127.0.0.1",
        "http_port": task.port,
        "grpc_port": task.port + 1,
        "metrics_port": task.port + 2,
        "metrics_dir": task.directory,
        "environments_dir": task.directory,
        "debug": False,
        "logging_settings": {"version": 1, "root": {"level": "ERROR"}},
    }
    model = {
        "name": NAME,
        "implementation": "benchmarks.peers.peer_mlserver.Hazard",
        "parameters": {"uri": file},
        "max_batch_size": 256,
        "max_batch_time": 0.02,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    sys.argv = ["mlserver", "start", str(folder)]
    mlserver()
