"""Features of recorded events: the same as plain pandas says for single users."""

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from common.times import DAY_MS
from training.fitting.stream_features import stream_features
from worker.config.features import Feature

FEATURES = [
    Feature(name="kind", kind="category", field="kind"),
    Feature(name="reads_7d", kind="count", where={"kind": "read"}, over="7d"),
    Feature(name="amount_30d", kind="sum", field="amount", over="30d"),
    Feature(name="mean_14d", kind="mean", field="amount", over="14d"),
    Feature(name="days_30d", kind="distinct_days", over="30d"),
]


def events(count: int = 400, owners: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "owner": rng.choice([f"o{n}" for n in range(owners)], count),
            "ts": 20_000 * DAY_MS + np.sort(rng.integers(0, 60 * DAY_MS, count)),
            "kind": rng.choice(["read", "write"], count),
            "amount": np.where(rng.random(count) < 0.6, rng.integers(1, 9, count), np.nan),
        }
    )


def by_pandas(past: pd.DataFrame) -> list[float]:
    """The features after the last of one owner's events; windows end with the day of that event."""
    day = past["ts"] // DAY_MS
    within = {days: past[day > day.iloc[-1] - days] for days in (7, 14, 30)}
    return [
        (within[7]["kind"] == "read").sum(),
        within[30]["amount"].sum(),
        within[14]["amount"].mean(),
        (within[30]["ts"] // DAY_MS).nunique(),
    ]


def test_features_are_those_of_pandas() -> None:
    rows = events()

    found = stream_features(FEATURES, rows, key="owner", time="ts")

    expected = [by_pandas(rows[: n + 1][rows["owner"][: n + 1] == owner]) for n, owner in enumerate(rows["owner"])]
    assert list(found.columns) == [feature.name for feature in FEATURES]
    assert found["kind"].equals(rows["kind"])
    np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(np.float64), np.array(expected, np.float64), rtol=1e-9)


def test_events_must_be_in_order_of_time() -> None:
    with pytest.raises(UserError, match="sort the events by ts first"):
        stream_features(FEATURES, events().iloc[::-1], key="owner", time="ts")


def test_features_over_readings_are_named() -> None:
    with pytest.raises(UserError, match="rolling: only values, categories and aggregates"):
        stream_features(
            [Feature(name="rolling", kind="mean", field="amount", last=3)], events(), key="owner", time="ts"
        )
