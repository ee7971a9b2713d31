"""Rows to try a model with: its input example, or rows that are made up from its signature."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.arrays import Float, Texts
from worker.model.contract import Features, ModelInput

_SEED = 20261126
_ROWS = 128
_WHOLE = {"long", "integer"}
_LOW, _HIGH = -2.0, 10.0  # of made-up numbers


def probe_rows(
    inputs: Sequence[ModelInput], example: Mapping[str, list[Any]], texts: Mapping[str, tuple[str, ...]]
) -> Features:
    """Rows without missing values, drawn with a fixed seed; the rows of the example, where there are any, come first.

    Args:
        inputs: of the model.
        example: rows of its input example, by column; columns may be absent.
        texts: values of text columns that the model was trained on.
    """
    rng = np.random.default_rng(_SEED)
    numbers = [_numbers(each, example.get(each.name, []), rng) for each in inputs if not each.categorical]
    categories = {
        each.name: _texts(example.get(each.name, []), texts.get(each.name, ()), rng)
        for each in inputs
        if each.categorical
    }
    return Features(np.column_stack(numbers) if numbers else np.empty((_ROWS, 0)), categories)


def _numbers(column: ModelInput, known: list[Any], rng: np.random.Generator) -> Float:
    given = np.array([value for value in known if isinstance(value, int | float)], np.float64)
    given = given[np.isfinite(given)]
    if column.type == "boolean":
        drawn = rng.integers(0, 2, _ROWS).astype(np.float64)
    elif len(given):
        drawn = rng.uniform(given.min(), given.max(), _ROWS)
    else:
        drawn = rng.uniform(max(_LOW, 0.0) if column.type in _WHOLE else _LOW, _HIGH, _ROWS)
    if column.type in _WHOLE:
        drawn = np.round(drawn)
    if column.type == "float":
        drawn = drawn.astype(np.float32).astype(np.float64)
    if len(given) == len(known):  # otherwise the rows of the example have gaps
        drawn[: len(given)] = given[:_ROWS]
    return drawn


def _texts(known: list[Any], seen: tuple[str, ...], rng: np.random.Generator) -> Texts:
    given = [value for value in known if isinstance(value, str)]
    values = sorted(set(given) | set(seen)) or ["a", "b"]
    drawn = np.array([values[at] for at in rng.integers(0, len(values), _ROWS).tolist()], dtype=object)
    if len(given) == len(known):
        drawn[: len(given)] = given[:_ROWS]
    return drawn


def lacking(rows: Features, numeric: Sequence[str], names: Sequence[str]) -> Features:
    """The rows with these inputs missing."""
    numbers = rows.numbers.copy()
    numbers[:, [at for at, name in enumerate(numeric) if name in names]] = np.nan
    categories = {n: np.full(len(rows), None, object) if n in names else c for n, c in rows.categories.items()}
    return Features(numbers, categories)
