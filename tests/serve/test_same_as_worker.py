"""A reading over HTTP and the same reading as an Avro message have the same outcome, whatever they hold."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from serve.answers import Answer
from serve.problems import ProblemError
from serve.scoring import RequestScorer
from tests.plain_pipelines import model
from worker.config.pipeline import Pipeline, load_pipeline
from worker.model.contract import Task
from worker.score.batch import Batch
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

NOW_MS = 1_767_225_600_000
FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string", "maxLength": 3},
    {"name": "site", "type": "string", "minLength": 1},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "double", "type": "double", "minimum": -1e9, "maximum": 1e9},
    {"name": "single", "type": ["null", "float"], "default": None},
    {"name": "int", "type": ["int", "null"], "default": 7, "maximum": 1000},
    {"name": "long", "type": ["null", "long"], "default": None},
    {"name": "flag", "type": ["null", "boolean"], "default": None},
    {"name": "plan", "type": {"type": "enum", "name": "Plan", "symbols": ["free", "gold"]}, "default": "free"},
    {"name": "text", "type": ["null", "string"], "default": None, "maxLength": 4},
]
PIPELINE = """
name: same
input: {topic: in, schema: Reading, key: id, group: site, time: at, on_invalid_sensor: %s}
outputs: {predictions: {topic: out}, dead_letters: {topic: dlq}}
model: none
task: regression
features: [double, single, int, long, flag, plan, text, {name: change, kind: difference, field: double, per: second}]
"""


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


OPTIONAL: dict[Any, st.SearchStrategy[Any]] = {
    "single": some(st.floats() | st.floats(width=32)),
    "int": some(st.integers(-(2**31), 2**31 - 1)),
    "long": some(st.integers(-(2**63), 2**63 - 1)),
    "flag": some(st.booleans()),
    "plan": st.sampled_from(["free", "gold"]),
    "text": some(st.text(st.characters(codec="utf-8"), max_size=6)),
}
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["a", "b"]),
    "site": st.just("s"),
    "at": st.integers(NOW_MS - 60_000, NOW_MS),
    "double": st.floats(-1e9, 1e9),
}
ODD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(["a", "", "äöü", "long"]),
    "site": st.sampled_from(["s", "", "ß"]),
    "at": st.integers(NOW_MS - 60_000, NOW_MS + 400_000) | st.sampled_from([0, -5, 1_767_225_600, 2**62]),
    "double": st.floats(),
}
READINGS = st.sampled_from([USUAL, ODD]).flatmap(
    lambda fields: st.lists(st.fixed_dictionaries(fields, optional=OPTIONAL), min_size=1, max_size=6)
)


@pytest.fixture(scope="module", params=["mask", "dead_letter"])
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RequestScorer:
    folder = tmp_path_factory.mktemp("same")
    (folder / "Reading.avsc").write_text(json.dumps({"type": "record", "name": "Reading", "fields": FIELDS}))
    (folder / "pipeline.yaml").write_text(PIPELINE % request.param)
    numbers = ("double", "single", "int", "long", "flag", "change")
    made = model(Task.REGRESSION, *numbers, ("plan", "string"), ("text", "string"))
    return RequestScorer(load_pipeline(str(folder)), made, 100)


def scored_as_messages(scorer: RequestScorer, readings: list[dict[str, Any]]) -> Any:
    pipeline: Pipeline = scorer.pipeline
    schema = pipeline.input.avro_schema
    worker = scorer_of(pipeline, scorer.model, None, writer_schema_lookup(None, pipeline.known_schemas))
    n, prefix = len(readings), single_object_prefix(schema)
    values: list[bytes | None] = [encode(each, parsed(schema), prefix) for each in readings]
    row = np.arange(n)
    keys: list[bytes | None] = [each["id"].encode() for each in readings]
    batch = Batch(keys, values, row * 0, row, np.full(n, NOW_MS), row * 0)
    outcome = worker.process(batch, {0: Partition(0, 0, 0)})
    if outcome.rejections:
        return [
            (f"readings.{r.row}", str(r.reason), r.message) for r in sorted(outcome.rejections, key=lambda r: r.row)
        ]
    scored, names = outcome.scored, (*pipeline.input.sensors(), *pipeline.input.categories())
    return [
        (
            row,
            scored.readings.key[at],
            int(scored.readings.ts[at]),
            value,
            [n for n, m in zip(names, masked, strict=True) if m],
        )
        for at, (row, value, masked) in enumerate(
            zip(scored.readings.row.tolist(), scored.prediction.value.tolist(), scored.masked.tolist(), strict=True)
        )
    ]


def scored_as_json(scorer: RequestScorer, readings: list[dict[str, Any]]) -> Any:
    request = scorer.read({"readings": readings})
    (found,) = scorer.score_all([request], NOW_MS)
    if isinstance(found, ProblemError):
        return [(detail.at, detail.reason, detail.message) for detail in found.details]
    assert isinstance(found, Answer)
    return [(each["row"], each["id"], each["at"], each["value"], each["masked"]) for each in found.predictions]


@settings(deadline=None, max_examples=50)
@given(readings=READINGS)
def test_json_and_avro_have_the_same_outcome(scorer: RequestScorer, readings: list[dict[str, Any]]) -> None:
    by_message = scored_as_messages(scorer, readings)
    by_request = scored_as_json(scorer, readings)

    assert repr(by_request) == repr(by_message)  # so that NaN equals NaN
