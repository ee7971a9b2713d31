"""docs/your-model.md, step by step: from an empty folder to scored records, with one's own model and schema."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.commands import hazardstream
from tests.harness import Stage, wait_until
from tests.plain_models import NUMBERS, pump_rows, saved, wear
from worker.model.model_files import read_model_files

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

TOPIC = "plant.pumps"
PAGE = (Path(__file__).parents[2] / "docs" / "your-model.md").read_text(encoding="utf-8")
PRODUCER = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Producer(" in block)
PUMP = {
    "type": "record",
    "name": "Pump",
    "fields": [
        {"name": "pump", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "pressure_bar", "type": "double", "minimum": -40, "maximum": 40},
        {"name": "flow", "type": ["null", "double"], "default": None},
    ],
}


def test_an_own_model_scores_an_own_topic_without_any_python(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pump_rows(400)
    forest = RandomForestRegressor(n_estimators=5, random_state=0).fit(rows[NUMBERS], wear(rows))
    model = saved(
        mlflow.sklearn,
        forest,
        tmp_path / "forest",
        rows[NUMBERS],
        wear(rows),
        skops_trusted_types=["numpy.dtype", "sklearn.tree._tree.Tree"],
    )
    monkeypatch.chdir(tmp_path)
    Path("Pump.avsc").write_text(json.dumps(PUMP))
    trust = {"HAZARDSTREAM_MODEL_TRUST": f"sha256:{read_model_files(model, 'forest').digest}"}
    init = ["pipeline", "init", "pumps", "--schema", "Pump.avsc", "--model", str(model), "--topic", TOPIC]
    fields = ["--key", "pump", "--time", "at", "--field", "pressure=pressure_bar"]

    refused = hazardstream(*init, *fields)
    assert refused.returncode == 2
    assert trust["HAZARDSTREAM_MODEL_TRUST"] in refused.stderr  # the very setting by which it is trusted
    for step in ([*init, *fields], ["pipeline", "check", "pumps"], ["pipeline", "test", "pumps"]):
        done = hazardstream(*step, **trust)
        assert done.returncode == 0, done.stdout + done.stderr
    created = hazardstream(
        "topics", "create", "--pipeline", "pumps", "--partitions", "2", KAFKA_BOOTSTRAP_SERVERS=kafka
    )
    assert created.returncode == 0, created.stdout + created.stderr

    stage = Stage(kafka, Path("pumps/pipeline.yaml").resolve(), tmp_path, model, environment=trust)
    schema, prefix = parsed(stage.pipeline.input.avro_schema), single_object_prefix(stage.pipeline.input.avro_schema)
    sent: list[dict[str, Any]] = [
        {"pump": f"p-{at % 7}", "at": 1_767_225_600_000 + at, "pressure_bar": row.pressure, "flow": row.flow}
        for at, row in enumerate(rows.itertuples())
    ]
    stage.publish((record["pump"], encode(record, schema, prefix)) for record in sent[:200])
    with stage.worker() as worker:
        wait_until(lambda: len(stage.records("predictions")) >= 50, "it scores")
        worker.kill()
    stage.publish((record["pump"], encode(record, schema, prefix)) for record in sent[200:])
    with stage.worker() as worker:
        subprocess.run(
            [sys.executable, "-c", PRODUCER], env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka}, check=True
        )
        wait_until(lambda: stage.outcomes() >= len(sent) + 3, "it scores all, and what the page's producer sends")
        assert worker.stop() == 0

    scored = {record["at"]: record["value"] for record in stage.records("predictions")}
    assert len(stage.records("predictions")) == len(sent) + 3
    expected = forest.predict(rows[NUMBERS])
    assert np.array_equal([scored[record["at"]] for record in sent], expected)
