"""Each pipeline with a recipe, from training to checked predictions, on real Kafka and MLflow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.terminal import terminal
from local.examples import EXAMPLES, Example
from local.isolated_pipeline import isolated_pipeline
from local.run_pipeline import RunOptions, run_on
from local.stage import Stage
from pipelines.absenteeism import rows as absenteeism
from pipelines.cli import WITH_RECIPE
from pipelines.housing import rows as housing
from tests.commands import hazardstream
from training.datasets.source import Rows
from worker.authoring.fixtures import FILE_NAME, read_fixtures
from worker.config.pipeline import load_pipeline

SOURCES = {"absenteeism": absenteeism.SOURCE, "housing": housing.SOURCE}


def of_served(example: Example, name: str) -> Example:
    """The example with one candidate, under a name of its own in the registry, and few rows."""
    recipe = example.recipe
    served = recipe.served or recipe.candidates[-1].name
    few = replace(
        recipe,
        name=name,
        rows=lambda given, seed: fewer(recipe.rows(given, seed)),
        candidates=tuple(c for c in recipe.candidates if c.name == served),
        tries=1,
    )
    return replace(example, recipe=few)


def fewer(rows: Rows) -> Rows:
    return replace(rows, frame=rows.frame.head(700))


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_trained_is_what_the_worker_predicts(
    name: str, kafka: str, mlflow_url: str, unique_name: str, tmp_path: Path
) -> None:
    file = isolated_pipeline(unique_name, tmp_path, of=name)
    example = replace(of_served(EXAMPLES[name], unique_name), after=None)

    result = run_on(Stage(file, kafka, mlflow_url, tmp_path), example, RunOptions(), terminal(stderr=True))

    assert {what: result[what] for what in ("missing", "duplicates", "differing", "dead_lettered")} == {
        "missing": 0,
        "duplicates": 0,
        "differing": 0,
        "dead_lettered": 0,
    }
    assert result["scored"] >= 700
    assert result["metrics"]


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_inputs_of_the_model_are_fields_of_the_record_or_features(name: str) -> None:
    pipeline, recipe = load_pipeline(name), EXAMPLES[name].recipe

    declared = [feature.name for feature in pipeline.features or ()] or list(pipeline.input.record.rules)

    assert set(recipe.inputs) <= set(declared)
    assert recipe.task == pipeline.expected_task


@pytest.mark.parametrize("name", SOURCES)
def test_generated_rows_have_the_form_of_the_published_ones(name: str) -> None:
    source, recipe, rules = SOURCES[name], EXAMPLES[name].recipe, load_pipeline(name).input.record.rules

    made = source.generate(0)

    assert made.equals(source.generate(0))
    assert not made.equals(source.generate(1))
    assert list(source.read(made.to_csv(index=False).encode()).columns) == list(made.columns)
    for column in recipe.numbers:
        assert made[column].min() >= rules[column].low, column
        assert made[column].max() <= rules[column].high, column


@pytest.mark.parametrize("name", SOURCES)
def test_published_rows_are_within_the_ranges_of_the_schema(name: str, published: dict[str, Any]) -> None:
    recipe, rules = EXAMPLES[name].recipe, load_pipeline(name).input.record.rules

    frame = published[name]

    for column in recipe.numbers:
        assert frame[column].min() >= rules[column].low, column
        assert frame[column].max() <= rules[column].high, column


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found = {}
    for name, source in SOURCES.items():
        file = Path(__file__).parents[2].parent / "shared/data/tabular" / source.file
        if not file.is_file():
            pytest.skip(f"the published rows are not at {file}; {source.url} has them")
        found[name] = source.read(file.read_bytes())
    return found


@pytest.mark.parametrize("name", WITH_RECIPE)
def test_rows_of_the_fixtures_fit_the_schema_and_each_result_is_a_field_of_its_record(name: str) -> None:
    """`hazardstream pipeline test` runs them, with the model of a whole training."""
    pipeline = load_pipeline(name)
    predictions = {field["name"] for field in pipeline.records["predictions"].schema["fields"]}

    for fixture in read_fixtures(pipeline.folder / FILE_NAME).tests:
        assert all(set(row) - {"$key"} <= set(pipeline.input.record.rules) for row in fixture.rows)
        assert all(set(each) <= predictions for each in fixture.predictions or [])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_wrong_file_of_rows_is_reported_before_anything_starts(name: str, tmp_path: Path) -> None:
    done = hazardstream("run", name, "--data", str(tmp_path / "none.csv"))

    assert done.returncode == 2
    assert "none.csv cannot be read (No such file or directory); name a file of rows" in done.stderr
    assert "starting" not in done.stderr
