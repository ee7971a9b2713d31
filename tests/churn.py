"""The pipeline churn on topics of a test's own: events of its users, and a model that was trained on a few of them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import yaml
from sklearn.base import clone

from local.isolated_pipeline import isolated_pipeline
from pipelines.churn.recipe import RECIPE, inputs_of
from pipelines.churn.users import CATEGORIES, simulate
from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import single_object_prefix
from tests.aggregates import held
from tests.comparison import Comparison, compare, dead_letter_source
from tests.harness import Stage
from tests.kept import kept_directory
from tests.plain_models import saved
from tests.uninterrupted import score_all
from training.run.replay import records_of
from worker.admission.admit import note, passed_note
from worker.admission.compatibility import alarm_policy
from worker.alarms.alarms import MODEL
from worker.alarms.state_machine import IDLE
from worker.config.alarm_section import rules_in_force
from worker.config.pipeline import Pipeline
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topic_identity import topic_id_of
from worker.kafka.topics import create_topics
from worker.model.contract import Model
from worker.model.formats import open_model, read_model
from worker.observe.metrics import Metrics
from worker.recover.partition_ends import partition_ends
from worker.recover.window_state import WindowStateRestore
from worker.score.aggregates import KeyedAggregates
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

# Beside the model's own alarm: one over long delays, and one that comes and goes.
_RULES = yaml.safe_load("""
- {name: quiet, priority: low, feature: logins_7d, low: 1, deadband: 1, on_delay_ms: 86400000, off_delay_ms: 86400000}
- {name: watching, priority: low, field: watch_minutes, high: 30, high_high: 60, urgent_priority: high, deadband: 20}
""")
_LATE_EVERY, _LATE_BY, _JUNK_EVERY = 37, 400, 251


def _train(directory: Path) -> None:
    users = simulate(seed=1, users=60, days=70)
    rows = inputs_of(users).astype(dict.fromkeys(CATEGORIES, object))
    (estimator,) = (c.estimator for c in RECIPE.candidates if c.name == "logistic_regression")
    model = clone(estimator).set_params(logisticregression__class_weight="balanced")
    model.fit(rows, users.leaves_soon(users.events))
    as_pickle = mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE
    saved(mlflow.sklearn, model, directory / "churn", rows, model.predict(rows), serialization_format=as_pickle)


def churn_stage(bootstrap: str, name: str, directory: Path, partitions: int = 2) -> Stage:
    """The shipped pipeline with topics of its own on a real broker, and a model that has passed the sandboxed load."""
    file, model = isolated_pipeline(name, directory, of="churn"), kept_directory("churn-model", _train) / "churn"
    content = yaml.safe_load(file.read_text())
    content["alarm"]["rules"] = _RULES
    file.write_text(yaml.safe_dump(content))
    files, cache = read_model(model, "churn"), directory / "cache"
    trust = {"HAZARDSTREAM_MODEL_TRUST": f"sha256:{files.digest}", "PRELOAD": "tests.opened_model"}
    stage = Stage(bootstrap, file, directory, model, partitions, environment=trust)
    create_topics(admin_client(client_config(bootstrap)), stage.pipeline, partitions=partitions, replication_factor=1)
    note(passed_note(cache, files, f"sha256:{files.digest[:12]}", stage.pipeline, trusted=True))
    return stage


def churn_model(stage: Stage) -> Model:
    """The model that the workers of this stage load."""
    files = read_model(stage.model, "churn")
    return open_model(files, version="offline", trusted=True, task=stage.pipeline.expected_task)


def churn_events(pipeline: Pipeline, users: int = 30, days: int = 70) -> list[tuple[str, bytes]]:
    """Events as the pipeline's generator makes them up; some come days too late, and some are no events."""
    records = records_of(simulate(seed=2, users=users, days=days).events, pipeline)
    schema, prefix = parsed(pipeline.input.avro_schema), single_object_prefix(pipeline.input.avro_schema)
    order = np.arange(len(records), dtype=np.float64)
    order[::_LATE_EVERY] += _LATE_BY
    messages = [(r["user_id"], encode(r, schema, prefix)) for r in (records[i] for i in np.argsort(order).tolist())]
    messages[::_JUNK_EVERY] = [(key, b"junk") for key, _ in messages[::_JUNK_EVERY]]
    return messages


def compare_with_uninterrupted_run(stage: Stage) -> tuple[Comparison, Counter[str]]:
    """How predictions, dead letters, alarms, their states and the state of windows differ from one run's.

    Returns:
        The comparison, and how many alarm transitions there should be by rule.
    """
    pipeline, model, partitions = stage.pipeline, churn_model(stage), dict[int, Partition]()
    rules = rules_in_force(pipeline)
    scorer = scorer_of(pipeline, model, alarm_policy(model, pipeline), stage.writer_schema_of, rules=rules)
    expected = score_all(stage, scorer, partitions)
    found = compare(
        expected,
        predictions=_as_hazard_predictions(stage),
        dead_letters=map(dead_letter_source, stage.dead_letters()),
        transitions=((r["user_id"], r["rule"] or MODEL, r["state"], r["ts"]) for r in stage.stream("alarms")),
        alarm_states={place: state for place, state in stage.alarm_states().items() if state != IDLE},
    )
    assert scorer.aggregates is not None
    restored = _restored(stage)
    for number, partition in partitions.items():
        should, is_ = (held(each, number, partition.clock) for each in (scorer.aggregates, restored))
        wrong = {place for place in should.keys() | is_.keys() if should.get(place) != is_.get(place)}
        assert not wrong, f"{len(wrong)} buckets in the topic of window state differ, such as {min(wrong)}"
    return found, Counter(rule for _, rule, _, _ in expected.transitions)


def _as_hazard_predictions(stage: Stage) -> Iterator[dict[str, Any]]:
    """Predictions under the names that `compare` knows."""
    for r in stage.stream("predictions"):
        yield r | {"module_id": r["user_id"], "hazard_probability": r["probability"], "readings_in_window": 1}


def _restored(stage: Stage) -> KeyedAggregates:
    """The aggregates that a worker reads back from the topic."""
    pipeline, config = stage.pipeline, client_config(stage.bootstrap)
    admin, layout, numbers = admin_client(config), pipeline.layout, list(range(stage.partitions))
    assert layout is not None
    aggregates = KeyedAggregates(layout, pipeline.input.sensors())
    restore = WindowStateRestore(config, pipeline, aggregates, stage.writer_schema_of, Metrics())
    ends, _ = partition_ends(admin, pipeline, numbers)
    for number in numbers:
        offsets, topic_id = ends[number].states["window_state"], topic_id_of(admin, pipeline.input.topic)
        restore.begin(Partition(number, 0, 0), offsets, "state-id", topic_id)
    while any(restore.missing(number) for number in numbers):
        restore.advance(0.5)
    for number in numbers:
        restore.finish(number)
    return aggregates
