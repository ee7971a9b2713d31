"""Candidates compete on the same folds; the best that predicts row by row is served."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from common.errors import UserError
from tests.recipes import NUMBERS, made_up, small_recipe
from training.fitting.fit import compare, split_rows
from training.fitting.predictions import HEADLINE, depends_on_batch, predict, required_inputs
from training.fitting.recipe import Candidate
from worker.config.task import Task


@pytest.mark.parametrize("task", Task)
def test_the_tree_beats_the_guess_and_same_seed_gives_the_same_result(task: Task) -> None:
    recipe, rows = small_recipe(task), made_up(task)

    first, second = (compare(recipe, rows, seed=1) for _ in range(2))

    by_name = {result.name: result for result in first.results}
    better = -1 if task == Task.REGRESSION else 1
    metric = HEADLINE[task]
    assert better * by_name["tree"].metrics[metric] > better * by_name["guess"].metrics[metric]
    assert [(r.name, r.score, r.metrics, r.threshold) for r in first.results] == [
        (r.name, r.score, r.metrics, r.threshold) for r in second.results
    ]
    assert (first.served.threshold is not None) == (task == Task.BINARY)


def test_results_are_best_first_and_the_recipe_may_name_the_one_to_serve() -> None:
    recipe = small_recipe(Task.REGRESSION)

    scores = [result.score for result in compare(recipe, made_up(recipe.task)).results]

    assert scores == sorted(scores, reverse=True)
    assert compare(replace(recipe, served="guess"), made_up(recipe.task)).served.name == "guess"


def test_rows_of_one_owner_are_on_one_side_of_the_split() -> None:
    rows = made_up(Task.REGRESSION)

    split = split_rows(replace(small_recipe(Task.REGRESSION), split_by="owner"), rows)

    assert set(split.train["owner"]).isdisjoint(split.test["owner"])
    assert sorted([*split.train.index, *split.test.index]) == list(rows.index)


def test_a_missing_column_is_named() -> None:
    recipe = small_recipe(Task.REGRESSION)

    with pytest.raises(UserError, match="the rows have no column b, target; small needs it"):
        compare(recipe, made_up(recipe.task).drop(columns=["b", "target"]))


def test_a_linear_model_depends_on_the_batch_in_the_last_bits_and_is_not_served() -> None:
    rng = np.random.default_rng(0)
    rows = made_up(Task.REGRESSION).assign(**{f"x{n}": rng.normal(size=300) for n in range(40)})
    numbers = (*NUMBERS, *(f"x{n}" for n in range(40)))
    linear = LinearRegression().fit(rows[list(numbers)], rows["target"])
    if not depends_on_batch(linear, Task.REGRESSION, rows[list(numbers)]):
        pytest.skip("the linear algebra library of this machine sums in the same order for each number of rows")
    only_linear = replace(
        small_recipe(Task.REGRESSION), numbers=numbers, candidates=(Candidate("linear", LinearRegression()),)
    )

    with pytest.raises(UserError, match="depends on its batch in each candidate"):
        compare(only_linear, rows)


@pytest.mark.slow  # trains models
def test_trees_predict_row_by_row() -> None:
    rows = made_up(Task.REGRESSION)
    tree = HistGradientBoostingRegressor(max_iter=5).fit(rows[list(NUMBERS)], rows["target"])

    assert not depends_on_batch(tree, Task.REGRESSION, rows[list(NUMBERS)])


def test_inputs_are_required_if_the_model_cannot_do_without() -> None:
    rows = made_up(Task.REGRESSION)
    inputs = rows[list(NUMBERS)]
    linear = LinearRegression().fit(inputs, rows["target"])
    imputing = make_pipeline(SimpleImputer(), DecisionTreeRegressor(max_depth=2)).fit(inputs, rows["target"])

    assert required_inputs(linear, Task.REGRESSION, inputs) == set(NUMBERS)
    assert required_inputs(imputing, Task.REGRESSION, inputs) == set()


def test_a_multiclass_prediction_is_the_most_probable_class() -> None:
    recipe, rows = small_recipe(Task.MULTICLASS), made_up(Task.MULTICLASS)
    tree = compare(recipe, rows).served.estimator

    found = predict(tree, Task.MULTICLASS, rows[list(NUMBERS)])

    assert found.probabilities is not None
    assert np.array_equal(found.value, found.probabilities.max(axis=1))
    assert np.array_equal(tree.classes_[found.label], tree.predict(rows[list(NUMBERS)]))
