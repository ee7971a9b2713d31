"""Which readings a model scores: all but those that lack what it requires, or hold what it does not know."""

import numpy as np

from worker.model.contract import Features, Model, ModelInput, Prediction, Task
from worker.score.predict import predict


class Sum(Model):
    """The sum of its numbers; it does not know the site "moon"."""

    def predict(self, features: Features) -> Prediction:
        assert not np.isnan(features.numbers[:, 0]).any()
        unscored = {row: "never heard of the moon" for row, s in enumerate(features.categories["site"]) if s == "moon"}
        return Prediction(np.nansum(features.numbers, axis=1), unscored=unscored)


INPUTS = (
    ModelInput("pressure", "double", required=True),
    ModelInput("site", "string", required=True),
    ModelInput("flow", "double", required=False),
)


def model(task: Task = Task.REGRESSION, classes: tuple[str, ...] = ()) -> Model:
    return Sum(name="sum", version="3", digest="", origin="", task=task, inputs=INPUTS, classes=classes)


def features(rows: list[tuple[float, float, str | None]]) -> Features:
    sites = np.array([site for _, _, site in rows], object)
    return Features(np.array([row[:2] for row in rows], np.float64).reshape(-1, 2), {"site": sites})


def test_rows_that_lack_a_required_input_or_hold_an_unknown_text_are_refused_and_named() -> None:
    nan = np.nan
    found = predict(
        model(), features([(1, 2, "a"), (nan, 1, "a"), (3, nan, "b"), (1, 1, None), (1, 1, "moon"), (5, 5, "a")])
    )

    assert found.rows.tolist() == [0, 2, 5]
    assert found.prediction.value.tolist() == [3, 3, 10]
    assert found.refused == {
        1: "pressure is missing, and model sum 3 requires it",
        3: "site is missing, and model sum 3 requires it",
        4: "never heard of the moon",
    }


def test_a_batch_without_a_row_that_can_be_scored_gives_empty_columns() -> None:
    found = predict(model(task=Task.MULTICLASS, classes=("a", "b")), features([(np.nan, 1, "a")]))

    assert (len(found.rows), len(found.prediction.value), list(found.refused)) == (0, 0, [0])
    assert found.prediction.probabilities is not None
    assert found.prediction.probabilities.shape == (0, 2)
