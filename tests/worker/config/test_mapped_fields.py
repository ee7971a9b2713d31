"""Fields named otherwise by `outputs.fields`: written and read back by every command under those names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.output_watcher import Watcher
from schemas.codec import decode, encode
from schemas.load import parsed
from schemas.registry import writer_schema_lookup
from schemas.wire import single_object_prefix
from tests.flagship import FILE, PIPELINE, changeable_schema, write_folder
from training.monitoring.performance.rolling import alarms_from
from worker.cli.published import Published
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.roles import ROLES
from worker.observe.metrics import Metrics
from worker.recover.alarm_state import AlarmRestore
from worker.windows.partition import Partition

MAPPED = [name for name, role in ROLES.items() if role.mapped]
IDENTITY = {"key": "module_id", "group": "rack_id", "time": "ts"}


@pytest.fixture
def renamed(tmp_path: Path) -> Pipeline:
    """The flagship pipeline with every field of predictions, alarms and alarm state under another name."""
    fields = sorted({field for role in MAPPED for field in ROLES[role].fields})
    mapping = {IDENTITY.get(field, field): f"x_{field}" for field in fields}
    plain = PIPELINE.outputs.with_engine_names
    changed = {}
    for role in MAPPED:
        name = PIPELINE.records[role].name
        changed[name] = changeable_schema(name)
        for field in changed[name]["fields"]:
            field["name"] = mapping[next(iter(plain({field["name"]: None})))]
    lines = ", ".join(f"{field}: {in_schema}" for field, in_schema in mapping.items())
    text = FILE.read_text(encoding="utf-8")
    text = text.replace("{probability: hazard_probability, positive: hazardous}", f"{{{lines}}}")
    return load_pipeline(str(write_folder(tmp_path, text, changed)))


def written(pipeline: Pipeline, role: str) -> bytes:
    """A record of a role as the worker writes it."""
    schema = pipeline.records[role].schema
    record = {name: written.field.samples[0] for name, written in pipeline.written(role).items()}
    assert set(record) == {field["name"] for field in schema["fields"]}
    return encode(record, parsed(schema), single_object_prefix(schema))


def read(pipeline: Pipeline, role: str) -> dict[str, Any]:
    return decode(
        written(pipeline, role), writer_schema_lookup(None, pipeline.known_schemas), pipeline.records[role].schema
    )


def test_alarm_state_is_restored(renamed: Pipeline) -> None:
    restore = AlarmRestore({}, renamed, writer_schema_lookup(None, renamed.known_schemas), Metrics())
    restore.begin(Partition(0, 0, 0), range(0), "")
    restore._latest[0] = {b"text": written(renamed, "alarm_state")}
    state = restore.states(0)[b"text"]
    sample = {name: field.samples for name, field in ROLES["alarm_state"].fields.items()}
    assert (state.active, state.priority, state.alarm_id) == (True, sample["priority"][0], sample["alarm_id"][0])
    assert (state.onset_ts, state.peak_probability) == (sample["onset_ts"][0], sample["peak_probability"][0])


def test_explain_finds_prediction_and_alarm(renamed: Pipeline) -> None:
    def message(role: str) -> Any:
        value = written(renamed, role)
        return SimpleNamespace(
            key=lambda: b"text", value=lambda: value, partition=lambda: 0, offset=lambda: 0, error=lambda: None
        )

    class Log:
        def spans_since(self, topic: str, *_: Any) -> str:
            return topic

        def read(self, topic: str, _: Any) -> list[list[Any]]:
            return [[message(role) for role, name in renamed.topics.items() if name == topic]]

    sample = {name: field.samples for name, field in ROLES["predictions"].fields.items()}
    archive = Published(Log(), renamed, writer_schema_lookup(None, renamed.known_schemas))  # type: ignore[arg-type]
    prediction = archive.prediction("text", sample["time"][0], sample["time"][0])
    assert prediction["probability"] == sample["probability"][0]
    (alarm,) = archive.alarms("text", prediction["ts"], prediction)
    assert alarm["state"] == "ACTIVE"


def test_performance_and_the_demo_read_alarms(renamed: Pipeline) -> None:
    (alarm,) = alarms_from([read(renamed, "alarms")], renamed, {})
    assert alarm.peak == ROLES["alarms"].fields["peak_probability"].samples[0]
    watch = Watcher.__new__(Watcher)
    watch._pipeline, watch._writer_schema_of = renamed, writer_schema_lookup(None, renamed.known_schemas)
    watch.active, watch.alarm_lines = {}, []  # type: ignore[assignment]
    value = written(renamed, "alarms")
    watch._alarm(watch._decoded(SimpleNamespace(value=lambda: value), renamed.records["alarms"].schema))
    assert watch.active == {("text", "text"): "text"}
