"""The published JSON Schema of pipeline files says what the model of them says."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.generic_pipeline import TEXT
from worker.config.json_schema import pipeline_json_schema
from worker.config.pipeline import SHIPPED_PIPELINES

PUBLISHED = SHIPPED_PIPELINES.parent / "schemas" / "pipeline.schema.json"
SHIPPED = sorted(SHIPPED_PIPELINES.glob("*/pipeline.yaml"))


def faults(document: Any) -> list[str]:
    return [error.json_path for error in Draft202012Validator(json.loads(PUBLISHED.read_text())).iter_errors(document)]


def test_the_published_file_is_that_of_the_model() -> None:
    assert json.loads(PUBLISHED.read_text()) == pipeline_json_schema(), (
        "run `hazardstream pipeline schema > schemas/pipeline.schema.json`"
    )


def test_it_is_a_valid_schema_and_explains_every_setting() -> None:
    schema = pipeline_json_schema()
    Draft202012Validator.check_schema(schema)
    parts = {name: part for name, part in schema["$defs"].items() if "properties" in part} | {"": schema}
    unexplained = [
        f"{part}.{name}"
        for part, declared in parts.items()
        for name, said in declared["properties"].items()
        if "description" not in said
    ]
    assert not unexplained


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_pipelines_that_come_with_the_package_are_valid_and_name_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not faults(yaml.safe_load(text))
    (named,) = [line for line in text.splitlines() if line.startswith("# yaml-language-server: $schema=")]
    assert (file.parent / named.partition("=")[2]).resolve() == PUBLISHED


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("task: binary", "task: ternary", "$.task"),
        ("topic: shop.visits\n", "topic: 5\n", "$.input.topic"),
        ("kind: std", "kind: median", "$.features[5]"),
        ("over: 14d", "over: 2w", "$.features[9]"),
        ("key: user", "kee: user", "$.input"),
        ("setpoint: 0.5", "setpoint: 2", "$.alarm.setpoint"),
    ],
)
def test_faults_are_found_by_it(old: str, new: str, place: str) -> None:
    assert not faults(yaml.safe_load(TEXT))
    assert faults(yaml.safe_load(TEXT.replace(old, new, 1))) == [place]
