"""Made-up users of a learning platform, with a stated truth: who leaves, and when.

How a user comes to leave:

1. Each user decides to leave at a random time, exponentially distributed. The monthly rate is `LEAVING` times the
   factors of plan, country and marketing source in `FACTORS`.
2. Over the `FADING_DAYS` before leaving, activity falls to a tenth of the user's own, quiz scores fall by up to 20
   points, and one payment in two is not made. After leaving there are no events.
3. What looks like leaving but is not: four users in ten pause for 5 to 12 days and come back.

The best possible model knows no more than the events up to a time, so its area under the ROC curve is below 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Float, Int
from common.times import DAY_MS

LEAVING = 0.22
"""Share of average users that leave in 30 days."""
FACTORS = {
    "plan": {"trial": 1.8, "basic": 1.1, "premium": 0.5},
    "country": {"DE": 0.9, "FR": 1.0, "IN": 1.1, "US": 1.0, "BR": 1.2},
    "marketing_source": {"organic": 0.7, "referral": 0.6, "ads": 1.5, "partner": 1.0},
}
_SHARES = {
    "plan": (0.3, 0.45, 0.25),
    "country": (0.25, 0.15, 0.2, 0.3, 0.1),
    "marketing_source": (0.35, 0.2, 0.3, 0.15),
}
CATEGORIES = tuple(FACTORS)
FADING_DAYS = 25
HORIZON_DAYS = 14
"""A user who leaves within this time after an event is what the model looks for."""
START_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z, the first day of the history."""
_PRICE = {"trial": 0.0, "basic": 9.9, "premium": 24.9}


@dataclass(frozen=True)
class Users:
    """Users and their events.

    Attributes:
        events: by time; columns as in UserEvent.avsc.
        leaves_at: user -> when the user leaves, ms; beyond the history for those who stay.
        end_ms: end of the history.
    """

    events: pd.DataFrame
    leaves_at: dict[str, int]
    end_ms: int

    def leaves_soon(self, events: pd.DataFrame) -> pd.Series:
        """The truth for each event: 1 if its user leaves within `HORIZON_DAYS` after it, else 0."""
        left = events["user_id"].map(self.leaves_at) - events["ts"]
        return (left <= HORIZON_DAYS * DAY_MS).astype(np.int64)


def simulate(seed: int = 0, users: int = 1200, days: int = 100) -> Users:
    """Make up users and their events. The same seed gives the same ones.

    Args:
        seed: of everything.
        users: how many.
        days: length of the history.
    """
    rng = np.random.default_rng(seed)
    kinds = {name: rng.choice(np.array(list(FACTORS[name]), object), users, p=_SHARES[name]) for name in CATEGORIES}
    factor = np.prod([[FACTORS[name][kind] for kind in kinds[name]] for name in CATEGORIES], axis=0)
    joins_day = rng.uniform(0, days * 0.5, users)
    leaves_day = joins_day + rng.exponential(30 / (LEAVING * factor))
    frames, leaves_at = [], {}
    for u in range(users):
        name = f"user-{seed}-{u:05}"
        leaves_at[name] = START_MS + round(leaves_day[u] * DAY_MS)
        own = _events_of(rng, joins_day[u], leaves_day[u], days, kinds["plan"][u])
        frames.append(own.assign(user_id=name, **{kind: kinds[kind][u] for kind in CATEGORIES}))
    events = pd.concat(frames, ignore_index=True).sort_values(["ts", "user_id"], kind="stable", ignore_index=True)
    columns = ["user_id", "ts", "event", "watch_minutes", "quiz_score", "amount_eur", *CATEGORIES]
    return Users(events[columns], leaves_at, START_MS + days * DAY_MS)


def _events_of(rng: np.random.Generator, joins: float, leaves: float, days: int, plan: str) -> pd.DataFrame:
    """All events of one user, by time, no two in the same second."""
    rate = rng.gamma(3.0, 0.5)
    day = np.arange(int(joins), days)
    fading = np.clip((day - (leaves - FADING_DAYS)) / FADING_DAYS, 0, 1)
    active: Float = np.where(day < leaves, rate * (1 - 0.9 * fading), 0.0) * _pause(rng, day)
    at, kind = [], []
    for name, per_day in (("login", 1.0), ("watch", 0.8), ("quiz", 0.3)):
        count = rng.poisson(active * per_day)
        at.append(np.repeat(day, count) + rng.uniform(0.25, 0.95, count.sum()))
        kind += [name] * int(count.sum())
    due = np.arange(joins + 0.5, min(days, leaves), 14.0)
    paid = due[(rng.random(len(due)) > 0.5 * (due > leaves - FADING_DAYS)) & (plan != "trial")]
    at.append(paid)
    kind += ["payment"] * len(paid)
    when, what = np.concatenate(at), np.array(kind, object)
    seconds, first = np.unique((when * 86_400).astype(np.int64), return_index=True)
    kept = (when[first] >= joins) & (when[first] < min(days, leaves))
    faded = np.clip((when[first] - (leaves - FADING_DAYS)) / FADING_DAYS, 0, 1)
    return _with_values(rng, START_MS + seconds[kept] * 1000, what[first][kept], faded[kept], plan)


def _with_values(rng: np.random.Generator, ts: Int, what: Any, fading: Float, plan: str) -> pd.DataFrame:
    n, skill = len(ts), rng.normal(70, 10)
    score = (skill - 20 * fading + rng.normal(0, 10, n)).clip(0, 100).round(1)
    return pd.DataFrame(
        {
            "ts": ts,
            "event": what,
            "watch_minutes": np.where(what == "watch", rng.gamma(2.0, 12.0, n).clip(0.5, 300).round(1), np.nan),
            "quiz_score": np.where(what == "quiz", score, np.nan),
            "amount_eur": np.where(what == "payment", _PRICE[plan], np.nan),
        }
    )


def _pause(rng: np.random.Generator, day: Int) -> Float:
    """1 on days of normal activity, 0 in a pause."""
    active = np.ones(len(day))
    if len(day) and rng.random() < 0.4:
        begins = rng.uniform(day[0], day[-1])
        active[(day >= begins) & (day < begins + rng.uniform(5, 12))] = 0
    return active
