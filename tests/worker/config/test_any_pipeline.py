"""Pipeline files for any model on any topic: what follows from them, and every way to get one wrong."""

import re
from pathlib import Path
from typing import Any

import pytest

from schemas.load import parsed
from schemas.wire import fingerprint
from tests.generic_pipeline import TEXT, VISIT, changed_visit, write_generic
from tests.wrong_pipelines import line_of, told
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.task import Task

SHORT = "name: n\ninput: {topic: i, schema: Visit}\nmodel: m\n"
OUTPUTS = "outputs: {predictions: {topic: p}, dead_letters: {topic: d}}\n"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return load_pipeline(str(write_generic(tmp_path)))


def names(pipeline: Pipeline, role: str) -> list[str]:
    return [field["name"] for field in pipeline.records[role].schema["fields"]]


def test_numbers_and_categories_are_the_fields_that_are_not_identity(pipeline: Pipeline) -> None:
    assert pipeline.input.sensors() == ("spent", "pages", "member")
    assert pipeline.input.categories() == ("kind", "country")
    assert [field["name"] for field in pipeline.input.reader_schema["fields"]][-1] == "country"


def test_features_are_resolved(pipeline: Pipeline) -> None:
    assert pipeline.features is not None
    kinds = {feature.name: (feature.kind, feature.field, feature.per) for feature in pipeline.features}
    assert kinds["spent"] == ("value", "spent", None)
    assert kinds["country"] == ("category", "country", None)
    assert kinds["change"] == ("difference", "spent", "second")
    assert kinds["visits"] == ("count", None, None)
    assert [aggregate.over_ms for aggregate in pipeline.aggregates][:2] == [7 * 86_400_000, 30 * 86_400_000]


def test_the_shortest_file_has_no_key_no_group_and_no_time(tmp_path: Path) -> None:
    pipeline = load_pipeline(str(write_generic(tmp_path, f"{SHORT}task: regression\n{OUTPUTS}")))
    assert pipeline.topics == {"input": "i", "predictions": "p", "dead_letters": "d"}
    written = "value error_band model_name model_version imputed masked"
    source = "source_topic_id source_partition source_offset scored_at"
    assert " ".join(names(pipeline, "predictions")) == f"{written} {source}"


@pytest.mark.parametrize(
    ("task", "carried"),
    [
        ("binary", ["probability", "positive", "threshold"]),
        ("multiclass", ["predicted_class", "probability", "probabilities"]),
        ("regression", ["value", "error_band"]),
    ],
)
def test_the_schema_of_predictions_follows_from_the_task(tmp_path: Path, task: str, carried: list[str]) -> None:
    text = f"{SHORT}task: {task}\n{OUTPUTS.replace('{predictions', '{echo: [country, pages], predictions')}"
    derived = load_pipeline(str(write_generic(tmp_path, text.replace("Visit}", "Visit, key: user, time: at}"))))
    assert names(derived, "predictions")[: 4 + len(carried)] == ["user", "at", "country", "pages", *carried]
    assert derived.records["predictions"].schema["name"] == "NPrediction"

    # The same schema in a file says the task, and is found to hold all that is written.
    text = text.replace(f"task: {task}\n", "").replace("topic: p}", "topic: p, schema: Mine}")
    file = write_generic(
        tmp_path,
        text.replace("Visit}", "Visit, key: user, time: at}"),
        Mine=derived.records["predictions"].schema,
    )
    assert load_pipeline(str(file)).expected_task is Task(task)


def test_a_superseded_derived_schema_is_still_known(tmp_path: Path) -> None:
    before = load_pipeline(str(write_generic(tmp_path))).records["predictions"].schema
    text = TEXT.replace("[country, pages]", "[country]")
    after = load_pipeline(str(write_generic(tmp_path, text, **{"ShopPrediction.v1": before})))
    assert [fingerprint(before), fingerprint(after.records["predictions"].schema)] == [
        *after.records["predictions"].versions
    ]


def test_fields_of_one_named_type_are_copied(tmp_path: Path) -> None:
    fields = [*VISIT["fields"], {"name": "before", "type": ["null", "Kind"], "default": None}]
    text = TEXT.replace("[country, pages]", "[before, kind]")
    pipeline = load_pipeline(str(write_generic(tmp_path, text, VISIT | {"fields": fields})))
    assert pipeline.input.categories() == ("kind", "country", "before")
    parsed(pipeline.records["predictions"].schema)
    parsed(pipeline.input.reader_schema)


MONITOR = """\
monitor:
  sketches: {topic: s1, schema: FeatureSketch}
  events: {topic: s2, schema: DriftEvent}
  labels: {topic: s3}
  shadow: {topic: s4}
"""
FEATURES = TEXT[TEXT.index("features:") : TEXT.index("outputs:")]

# What is replaced, by what; what is said (place and fix), and the marker of its line.
WRONG: dict[str, tuple[str, str, str, str]] = {
    "unknown task": ("task: binary", "task: ternary", r"task: .*'binary', 'multiclass' or 'regression'", "task:"),
    "no task and no schema": (
        "task: binary\n",
        "",
        r"predictions: .*add task: binary, multiclass",
        "  predic",
    ),
    "alarms of a regression": ("task: binary", "task: regression", r"outputs\.alarms: .*take alarms", "  alarms:"),
    "half of the alarms": ("  alarm_state: {topic: shop.alarm-state}\n", "", r"add alarm_state: \{topic", "  alarms:"),
    "a policy without alarms": (
        "  alarms: {topic: shop.alarms}\n  alarm_state: {topic: shop.alarm-state}\n",
        "",
        r"alarm: there are no alarms; add outputs\.alarms",
        "alarm: {",
    ),
    "windows without a topic": (
        "  window_state: {topic: shop.windows}\n",
        "",
        r"outputs: window_state is missing.*add window_state: \{topic: NAME\}",
        "outputs:",
    ),
    "a schema for windows": (
        "{topic: shop.windows}",
        "{topic: shop.windows, schema: Visit}",
        r"window_state\.schema: the schema follows from the features; take it out",
        "  window_state",
    ),
    "unknown key": ("key: user", "key: usr", r"input\.key: Visit has no field 'usr'; did you mean 'user'", "key:"),
    "key that is an enum": ("key: user", "key: kind", r"input\.key: .*is 'enum'; a key must be 'string'; ", "key:"),
    "time that is a number": ("time: at", "time: pages", r"input\.time: .*must be 'long' with logicalType", "time:"),
    "one field twice": ("time: at", "group: user", r"input\.group: 'user' is the key already; name another", "group:"),
    "unknown echo": ("[country, pages]", "[county]", r"outputs\.echo\.0: .*did you mean 'country'\?", "  echo"),
    "echo of the key": ("[country, pages]", "[user]", r"'user' is on every prediction already; take it out", "  echo"),
    "echo of an array": ("[country, pages]", "[tags]", r"field 'tags' is no number.*take it out", "  echo"),
    "echo twice": ("[country, pages]", "[pages, pages]", r"'pages' is copied already; take one", "  echo"),
    "span of windows": (
        "task: binary",
        "task: binary\nwindow_span: 2w",
        r"window_span: '2w' is no length of time",
        "n: 2w",
    ),
    "unknown kind": (
        "kind: std,",
        "kind: median,",
        r"features\.spread\.kind: it must be one of value, category, .*, not 'median'; correct the value",
        "spread",
    ),
    "unknown field": (
        "field: spent, last: 10}\n  - {name: spread",
        "field: spend, last: 10}\n  - {name: spread",
        r"features\.usual\.field: the input has no field 'spend'; did you mean 'spent'\?",
        "usual",
    ),
    "mean of texts": ("mean, field: spent", "mean, field: country", r"'country' is no number, which mean", "usual"),
    "category of numbers": (
        "  - country",
        "  - {name: pages, kind: category}",
        r"'pages' is no string.*value",
        "pages",
    ),
    "feature of the key": ("  - country", "  - user", r"'user' is the key, the group or the time; name", "  - user"),
    "two of a name": ("name: paid", "name: spent", r"features\.spent\.name: 'spent' is the name of an earlier", "fill"),
    "no window": ("mean, field: spent, last: 10", "mean, field: spent", r"mean needs a window; give `over`", "usual"),
    "two windows": (
        "mean, field: spent, last: 10",
        "mean, field: spent, last: 10, over: 7d",
        r"take `last` or",
        "usual",
    ),
    "std of a time": (
        "std, field: spent, last: 10",
        "std, field: spent, over: 7d",
        r"std is over readings; give",
        "spread",
    ),
    "std of one reading": (
        "std, field: spent, last: 10",
        "std, field: spent, last: 1",
        r"`last` of 2 or more",
        "spread",
    ),
    "count of readings": (
        "count, over: 7d",
        "count, last: 7",
        r"features\.visits\.last: only mean and std",
        "name: visits",
    ),
    "length without unit": (
        "over: 14d",
        "over: 14",
        r"features\.days\.over: it must be a number with s, m, h or d, such as 7d, not 14",
        "days",
    ),
    "unknown unit": ("over: 14d", "over: 2w", r"features\.days\.over: it must be a number with s, m, h or d", "days"),
    "window too long": ("over: 14d", "over: 500d", r"features\.days\.over: .*at most 400 days; correct 500d", "days"),
    "window of odd hours": (
        "over: 14d",
        "over: 169h",
        r"whole number of them; write 168h \(7d\) or 192h \(8d\)$",
        "days",
    ),
    "where of a number's value": (
        "where: {kind: order}, over",
        "where: {pages: 0}, over",
        r"features\.orders\.where\.pages: `where` selects by a string, an enum or a boolean.*, not 0; correct",
        "orders",
    ),
    "window of odd length": ("over: 90m", "over: 91m", r"whole number of them; write 90m or 100m$", "total"),
    "fill of a mean": ("mean, field: spent", "mean, fill: true, field: spent", r"only a value is filled", "usual"),
    "per of a mean": ("mean, field: spent", "mean, per: second, field: spent", r"only a difference has it", "usual"),
    "where of a value": (
        "value, field: spent",
        "value, where: {kind: order}, field: spent",
        r"only aggregates",
        "paid",
    ),
    "where of a number": (
        "where: {kind: order}, over",
        "where: {pages: x}, over",
        r"must be a string, an enum",
        "orders",
    ),
    "unknown symbol": (
        "{kind: order}, over: 30d}\n  - {name: t",
        "{kind: oder}, over: 30d}\n  - {name: t",
        r"features\.orders\.where\.kind: the enum has no symbol 'oder'; did you mean 'order'\?",
        "orders",
    ),
    "text for a boolean": ("{member: true}", "{member: 'yes'}", r"it must be true or false, not 'yes'", "total"),
    "setting of a feature": ("fill: true", "filled: true", r"features\.paid\.filled: .*did you mean 'fill'\?", "paid"),
    "no features": (
        TEXT[TEXT.index("features:") : TEXT.index("outputs:")],
        "features: []\n",
        r"there is none; name",
        "features",
    ),
    "monitor without time": (
        "  key: user\n  time: at\n",
        MONITOR,
        r"monitor: labels and .*; name the fields of input\.key and input\.time",
        "monitor:",
    ),
    "incomplete policy": ("deadband: 0.1", "deadband: 0.7", r"alarm: deadband 0\.7 must be smaller", "alarm: {"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_pipeline_is_told_with_place_and_fix(tmp_path: Path, case: str) -> None:
    old, new, said, marker = WRONG[case]
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    faults = told(write_generic(tmp_path, text))
    found = [fault for fault in faults if re.search(said, fault)]
    assert found, "\n".join(faults)
    assert f":{line_of(text, marker)}: " in found[0]


SCHEMAS: dict[str, tuple[dict[str, Any], str]] = {
    "key that may be null": (
        {"user": ["null", "string"]},
        r"input\.key: .*Visit\.avsc:\d+: field 'user' may be null, and a key may not",
    ),
    "time in microseconds": (
        {"at": {"type": "long", "logicalType": "timestamp-micros"}},
        r"input\.time: .*must be 'long' with logicalType timestamp-millis",
    ),
    "number that became an array": ({"spent": {"type": "array", "items": "double"}}, r"minimum is only for a number"),
    "category that became bytes": ({"country": "bytes"}, r"maxLength is only for a string, which this field is not"),
    "enum that became a record": (
        {"kind": {"type": "record", "name": "K", "fields": []}},
        r"features\.orders\.where\.kind: it must be a string, an enum or a boolean",
    ),
    "type that does not exist": ({"pages": "integer"}, r"not a valid Avro schema"),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_wrong_schema_is_told(tmp_path: Path, case: str) -> None:
    types, said = SCHEMAS[case]
    faults = told(write_generic(tmp_path, TEXT, changed_visit(**types)))
    assert [fault for fault in faults if re.search(said, fault)], "\n".join(faults)


def test_a_given_schema_must_hold_what_is_copied_even_where_it_is_masked(tmp_path: Path) -> None:
    derived = load_pipeline(str(write_generic(tmp_path))).records["predictions"].schema
    fields = [f | ({"type": "int"} if f["name"] == "pages" else {}) for f in derived["fields"]]
    fields = [{k: v for k, v in f.items() if k != "default"} for f in fields]
    text = TEXT.replace("shop.predictions}", "shop.predictions, schema: Mine}")
    (fault,) = told(write_generic(tmp_path, text, Mine=derived | {"fields": fields}))
    assert re.search(r"Mine\.avsc:\d+: field 'pages' cannot hold .*declare it as \[\"null\", \"int\"\]", fault)
