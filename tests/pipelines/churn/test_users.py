"""The made-up users: the same for a seed, in order, within the schema, and with the truth that the module states."""

import pandas as pd
import pytest

from common.times import DAY_MS
from pipelines.churn.users import FACTORS, FADING_DAYS, HORIZON_DAYS, Users, simulate
from worker.config.pipeline import load_pipeline

pytestmark = pytest.mark.slow  # makes thousands of users


@pytest.fixture(scope="module")
def users() -> Users:
    return simulate(seed=3, users=300)


def test_the_same_seed_gives_the_same_users(users: Users) -> None:
    assert simulate(seed=3, users=300).events.equals(users.events)
    assert not simulate(seed=4, users=300).events["ts"].equals(users.events["ts"])


def test_events_are_by_time_and_no_user_has_two_in_one_millisecond(users: Users) -> None:
    assert users.events["ts"].is_monotonic_increasing
    assert not users.events.duplicated(["user_id", "ts"]).any()


def test_nobody_is_active_after_leaving(users: Users) -> None:
    last = users.events.groupby("user_id")["ts"].max()

    assert (last <= pd.Series(users.leaves_at)[last.index]).all()


def test_events_fit_the_schema(users: Users) -> None:
    rules = load_pipeline("churn").input.record.rules
    for column in ("watch_minutes", "quiz_score", "amount_eur"):
        assert users.events[column].min() >= rules[column].low
        assert users.events[column].max() <= rules[column].high
    assert set(users.events["event"]) == set(rules["event"].symbols)
    assert {name: set(users.events[name]) for name in FACTORS} == {name: set(kinds) for name, kinds in FACTORS.items()}


def test_activity_fades_before_leaving(users: Users) -> None:
    left = users.events["user_id"].map(users.leaves_at)
    before = (left - users.events["ts"]) / DAY_MS
    usual = ((before > FADING_DAYS) & (before <= 2 * FADING_DAYS)).sum()

    assert (before <= FADING_DAYS).sum() < 0.75 * usual


def test_premium_users_stay_longer_than_those_on_trial(users: Users) -> None:
    plans = users.events.groupby("user_id")["plan"].first()
    stays = pd.Series(users.leaves_at)[plans.index].groupby(plans).median()

    assert stays["trial"] < stays["basic"] < stays["premium"]


def test_the_truth_is_whether_the_user_leaves_within_the_horizon(users: Users) -> None:
    truth = users.leaves_soon(users.events)

    left = users.events["user_id"].map(users.leaves_at) - users.events["ts"]
    assert truth.equals((left <= HORIZON_DAYS * DAY_MS).astype("int64"))
    assert 0.01 < truth.mean() < 0.2
