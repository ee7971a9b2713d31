"""What is published to check a pipeline: records, and what the model itself predicts for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Bool
from training.fitting.recipe import Recipe
from training.run.train import Trained
from worker.config.pipeline import Pipeline


@dataclass(frozen=True)
class Replay:
    """Records in the order in which they are published.

    Attributes:
        keys: of the messages; None: no key [n].
        records: as the pipeline's input schema declares them [n].
        inputs: what the model gets for each record, computed without the worker [n rows].
        truth: what is right: values, or indices of classes [n].
        held_out: which rows the model was not trained with [n].
    """

    keys: Sequence[str | None]
    records: Sequence[dict[str, Any]]
    inputs: pd.DataFrame
    truth: Any
    held_out: Bool


def replay_of_training(recipe: Recipe, trained: Trained, pipeline: Pipeline) -> Replay:
    """All rows of a training, for a pipeline whose features are fields of the record."""
    frame = trained.rows.frame
    return replay_of_rows(recipe, frame, pipeline, np.isin(frame.index, trained.comparison.split.test.index))


def replay_of_rows(recipe: Recipe, frame: pd.DataFrame, pipeline: Pipeline, held_out: Bool) -> Replay:
    """Rows for a pipeline whose features are fields of the record.

    Args:
        recipe: names the columns.
        frame: rows.
        pipeline: names the key and the fields.
        held_out: which rows the model was not trained with [n].
    """
    key = pipeline.input.key_field
    return Replay(
        keys=[None] * len(frame) if key is None else frame[key].tolist(),
        records=records_of(frame, pipeline),
        inputs=frame[recipe.inputs],
        truth=frame[recipe.target].to_numpy(),
        held_out=held_out,
    )


def records_of(frame: pd.DataFrame, pipeline: Pipeline) -> list[dict[str, Any]]:
    """Rows as records of the pipeline's input: missing values are null, whole numbers are integers.

    Fields without a column of that name get their default.
    """
    rules = pipeline.input.record.rules
    columns = {
        name: [None if pd.isna(v) else int(v) if of.kind == "whole" else v for v in frame[name].tolist()]
        for name, of in rules.items()
        if name in frame.columns
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
