"""A pipeline of any model on any topic: readings of a pump, without key, time, windows and alarms unless given."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from worker.config.pipeline import Pipeline, load_pipeline
from worker.model.contract import Features, InputType, Model, ModelInput, Prediction, Task

PUMP: dict[str, Any] = {
    "type": "record",
    "name": "PumpReading",
    "namespace": "test",
    "fields": [
        {"name": "pump", "type": ["null", "string"], "default": None},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "pressure", "type": "double"},
        {"name": "flow", "type": ["null", "double"], "default": None, "minimum": 0, "maximum": 100},
        {"name": "starts", "type": ["null", "long"], "default": None},
        {"name": "site", "type": ["null", "string"], "default": None},
    ],
}
PLAIN = """
name: {name}
input:
  topic: {name}.readings
  schema: PumpReading
{identity}
outputs:
  predictions: {{topic: {name}.predictions}}
  dead_letters: {{topic: {name}.dead-letters}}
{outputs}
model: {model}
task: {task}
{more}
"""


def plain_pipeline(
    folder: Path,
    task: str = "binary",
    *,
    name: str = "pump",
    identity: str = "",
    outputs: str = "",
    more: str = "",
    model: str = "model",
) -> Pipeline:
    """Write a folder with the pipeline and read it; `identity`, `outputs` and `more` are lines of YAML.

    With an identity, its fields are not nullable.
    """
    schema = json.loads(json.dumps(PUMP))
    for field in schema["fields"]:
        if field["name"] in ("pump", "at") and field["name"] in identity:
            field["type"] = field["type"][1]
            del field["default"]
    folder.mkdir(exist_ok=True)
    (folder / "PumpReading.avsc").write_text(json.dumps(schema, indent=1))
    text = PLAIN.format(name=name, identity=identity, outputs=outputs, more=more, model=model, task=task)
    (folder / "pipeline.yaml").write_text(text)
    return load_pipeline(str(folder))


class Sum(Model):
    """The sum of all numbers that are there, squeezed between 0 and 1 unless it is for regression."""

    def predict(self, features: Features) -> Prediction:
        value = np.nansum(features.numbers, axis=1)
        if self.task is Task.REGRESSION:
            return Prediction(value)
        probability = 1 / (1 + np.exp(-value))
        if self.task is Task.BINARY:
            return Prediction(probability)
        return Prediction(
            np.maximum(probability, 1 - probability),
            (probability > 0.5).astype(np.int64),
            np.column_stack((1 - probability, probability)),
        )


def model(task: Task, *inputs: str | tuple[str, InputType], **more: Any) -> Sum:
    """A model of these inputs: doubles, where no type is given."""
    typed = [(each, "double") if isinstance(each, str) else each for each in inputs]
    return Sum(
        name="sum",
        version="1",
        digest="d",
        origin="test",
        task=task,
        inputs=tuple(ModelInput(name, kind, required=False) for name, kind in typed),  # type: ignore[arg-type]
        **more,
    )
