"""Recent rows against those of the training: what has drifted, and whether to train again."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from training.monitoring.rows.drift import compare_rows, decide
from training.monitoring.rows.report import write_row_report

NUMBERS, CATEGORIES = ("a", "b", "c"), ("kind",)


def rows(seed: int, count: int = 1000, shift: float = 0.0, missing: float = 0.0, new_kind: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(count, 3)), columns=list(NUMBERS))
    frame["a"] += shift
    frame["b"] = frame["b"].where(rng.random(count) >= missing)
    frame["kind"] = np.where(rng.random(count) < new_kind, "new", rng.choice(["x", "y"], count))
    return frame


def drifted(now: pd.DataFrame) -> set[str]:
    return {column.name for column in compare_rows(rows(0), now, NUMBERS, CATEGORIES) if column.drifted}


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (rows(1), set()),
        (rows(1, shift=0.1), set()),
        (rows(1, shift=0.6), {"a"}),
        (rows(1, missing=0.05), set()),
        (rows(1, missing=0.2), {"b"}),
        (rows(1, missing=1.0), {"b"}),
        (rows(1, new_kind=0.3), {"kind"}),
        (rows(1, count=100, shift=0.6), {"a"}),
    ],
)
def test_what_has_drifted_is_found_and_nothing_else(now: pd.DataFrame, found: set[str]) -> None:
    assert drifted(now) == found


def test_rows_of_the_same_distribution_drift_by_chance_once_in_a_hundred_draws_at_most() -> None:
    assert sum(bool(drifted(rows(seed, count=200))) for seed in range(1, 40)) <= 2


def test_too_few_rows_are_not_judged() -> None:
    with pytest.raises(UserError, match="99 recent ones are too few"):
        compare_rows(rows(0), rows(1, count=99), NUMBERS, CATEGORIES)


@pytest.mark.parametrize(
    ("now", "errors", "reason"),
    [
        (rows(1), (1.0, 1.2), None),
        (rows(1), (1.0, 1.6), "the error on recent rows is 1.6, in the test it was 1"),
        (rows(1), (29822.1, 61234.5), "the error on recent rows is 61,234, in the test it was 29,822"),
        (rows(1), (None, 9.0), None),
        (rows(1, shift=1.0), (None, None), r"1 of 4 columns have drifted: a \(0.\d+\)"),
        (
            rows(1).assign(a=math.nan),
            (None, None),
            r"1 of 4 columns have drifted: a \(0.00, 100% missing, \d+% before\)",
        ),
    ],
)
def test_drift_or_a_larger_error_is_a_reason_to_train_again(
    now: pd.DataFrame, errors: tuple[float | None, float | None], reason: str | None
) -> None:
    columns = compare_rows(rows(0), now, NUMBERS, CATEGORIES)

    decision = decide(columns, error_before=errors[0], error_now=errors[1])

    assert [bool(re.fullmatch(reason or "", text)) for text in decision.reasons] == [True] * (reason is not None)


def test_the_report_is_a_picture_and_json(tmp_path: Path) -> None:
    before, now = rows(0), rows(1, shift=1.0, new_kind=0.3)
    decision = decide(compare_rows(before, now, NUMBERS, CATEGORIES))

    found = write_row_report(decision, before, now, tmp_path / "report", model_version="7")

    assert json.loads((tmp_path / "report/drift.json").read_text()) == found
    assert (found["retrain"], found["model_version"]) == (True, "7")
    assert {column["name"] for column in found["columns"] if column["drifted"]} == {"a", "kind"}
    assert (tmp_path / "report/drift.png").read_bytes().startswith(b"\x89PNG")
