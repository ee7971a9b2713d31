"""The state of a rule's alarm is published under a key of its own, and restores the same alarm."""

from pathlib import Path
from typing import Any

from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from tests.plain_pipelines import model, plain_pipeline
from worker.alarms.alarms import Alarms
from worker.config.alarm_section import rules_of
from worker.encode.encoder import Encoder, state_from
from worker.in_memory import START_MS, InMemory
from worker.model.contract import Task

HOT = "alarm:\n  rules:\n    - {name: hot, priority: HIGH, field: pressure, high: 3, on_delay_ms: 15000}"


def test_a_rules_state_is_published_beside_the_models_and_restores_the_same_alarm(tmp_path: Path) -> None:
    identity, outputs = "  key: pump\n  time: at", "  alarms: {topic: alarms}\n  alarm_state: {topic: states}"
    pipeline = plain_pipeline(tmp_path, "regression", identity=identity, outputs=outputs, more=HOT)
    rows: list[dict[str, Any]] = [
        {"pump": "p1", "at": START_MS + n * 10_000, "pressure": pressure}
        for n, pressure in enumerate((4.0, 4.0, 4.0, 1.0))
    ]
    found = InMemory(pipeline, model(Task.REGRESSION, "pressure"), batch_size=1).process(rows)
    lookup, encoder = writer_schema_lookup(None, pipeline.known_schemas), Encoder(pipeline, {}, 1_000_000)
    published = [
        record
        for outcome in found.outcomes
        for record in encoder.records(outcome).records
        if record.topic == pipeline.topics["alarm_state"]
    ]

    assert [record.key for record in published] == [b"p1\xffhot"] * 3
    assert published[-1].value is None  # returned to normal: compaction removes the state
    schema = pipeline.records["alarm_state"].schema
    states = [state_from(decode(record.value or b"", lookup, schema)) for record in published[:2]]
    assert [(s.active, s.priority, s.pending_since_ts) for s in states] == [(False, "", START_MS), (True, "HIGH", None)]
    alarms = Alarms(None, rules_of(pipeline.alarm))
    alarms.assign(0, {b"p1\xffhot": states[1]})
    assert alarms.of(0, b"p1", "hot") == states[1]
