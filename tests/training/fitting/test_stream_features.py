"""Features of recorded events: the same as plain pandas says for single users."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from common.times import DAY_MS
from tests.generic_pipeline import TEXT, write_generic
from training.fitting.stream_features import stream_features
from worker.config.pipeline import Pipeline, load_pipeline

pytestmark = pytest.mark.slow  # compares thousands of rows with pandas

DECLARED = """
features:
  - country
  - spent
  - {name: usual, kind: mean, field: spent, last: 3}
  - {name: change, kind: difference, field: spent, per: second}
  - {name: orders_7d, kind: count, where: {kind: order}, over: 7d}
  - {name: spent_30d, kind: sum, field: spent, over: 30d}
  - {name: mean_14d, kind: mean, field: spent, over: 14d}
  - {name: member_days, kind: distinct_days, where: {member: true}, over: 30d}
window_span: 20d
outputs:"""
DAYS = 60


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    text = TEXT[: TEXT.index("features:")] + DECLARED.lstrip() + TEXT.partition("outputs:")[2]
    return load_pipeline(str(write_generic(tmp_path, text)))


def events(count: int = 400, users: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "user": rng.choice([f"u{n}" for n in range(users)], count),
            "at": 20_000 * DAY_MS + np.sort(rng.choice(DAYS * 86_400, count, replace=False)) * 1000,
            "kind": rng.choice(["view", "order"], count),
            "spent": np.where(rng.random(count) < 0.6, rng.integers(1, 9, count), np.nan),
            "member": rng.random(count) < 0.5,
            "country": rng.choice(np.array(["DE", "FR", None], object), count),
        },
        index=np.arange(count) * 2 + 7,
    )


def by_pandas(past: pd.DataFrame) -> list[float]:
    """The numbers after the last of one user's events; windows of days end with the day of that event."""
    day, known = past["at"] // DAY_MS, past.dropna(subset="spent")
    within = {days: past[day > day.iloc[-1] - days] for days in (7, 14, 30)}
    change = (known["spent"].diff() / known["at"].diff() * 1000).reindex(past.index)
    return [
        past["spent"].iloc[-1],
        past["spent"].iloc[-3:].mean(),
        change.iloc[-1],
        (within[7]["kind"] == "order").sum(),
        within[30]["spent"].sum(),
        within[14]["spent"].mean(),
        (within[30][within[30]["member"]]["at"] // DAY_MS).nunique(),
    ]


def test_features_are_those_of_pandas(pipeline: Pipeline) -> None:
    rows = events()

    found = stream_features(pipeline, rows)

    expected = [by_pandas(rows[: n + 1][rows["user"][: n + 1] == user]) for n, user in enumerate(rows["user"])]
    assert list(found.columns) == [feature.name for feature in pipeline.features or ()]
    assert found.index.equals(rows.index)
    assert found["country"].tolist() == [None if pd.isna(each) else each for each in rows["country"]]
    np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(np.float64), np.array(expected, np.float64), rtol=1e-9)


def test_times_may_be_timestamps(pipeline: Pipeline) -> None:
    rows = events(50)
    as_timestamps = rows.assign(at=pd.to_datetime(rows["at"], unit="ms", utc=True))

    pd.testing.assert_frame_equal(stream_features(pipeline, as_timestamps), stream_features(pipeline, rows))


def test_events_that_a_worker_would_not_score_have_no_features(pipeline: Pipeline) -> None:
    rows = events(50)
    rows.iloc[11] = rows.iloc[10]  # sent twice
    rows.loc[rows.index[20], "country"] = "too long"  # masked

    found = stream_features(pipeline, rows)

    assert set(rows.index) - set(found.index) == {rows.index[11]}
    assert found.loc[rows.index[20], "country"] is None


def test_events_must_be_in_order_of_time(pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match="sort the events by at first"):
        stream_features(pipeline, events().iloc[::-1])


def test_a_column_that_lacks_is_named(pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match="no column kind, member, which"):
        stream_features(pipeline, events().drop(columns=["kind", "member"]))
