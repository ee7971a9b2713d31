"""Decides whether a challenger may replace the champion: is the evidence sufficient, and is it good enough."""

from dataclasses import dataclass

from scipy import stats

from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S
from training.promotion.evidence import Evidence

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Requirements:
    """How much evidence is required.

    Attributes:
        key_days: of shadow scoring.
        events: confirmed ones.
    """

    key_days: float = 30.0
    events: int = 5


@dataclass(frozen=True)
class Decision:
    """Reasons against the promotion; without any, promote.

    Attributes:
        insufficient: which evidence is missing.
        worse: in which respects the challenger is worse.
    """

    insufficient: tuple[str, ...]
    worse: tuple[str, ...]

    @property
    def promote(self) -> bool:
        """Whether there is no reason against it."""
        return not (self.insufficient or self.worse)


def decide(found: Evidence, required: Requirements) -> Decision:
    """Decide by the evidence.

    Missed events are few and costly: the challenger must have warned of as many events as the champion, and of as many
    in time. It may have more alarms without an event if that can be chance: both saw the same key-days, so half of all
    such alarms should be its own (exact binomial test, one-sided).
    """
    insufficient, worse = [], []
    if found.key_days < required.key_days:
        insufficient.append(f"{found.key_days:.2f} key-days in the shadow, but {required.key_days:g} are required")
    if found.events < required.events:
        insufficient.append(f"{found.events} confirmed events in the shadow, but {required.events} are required")
    old, new = found.champion, found.challenger
    for name, before, after in (
        ("warned of", old.warned, new.warned),
        (f"alarmed at least {REQUIRED_WARNING_S:.0f} s ahead", old.in_time, new.in_time),
    ):
        if after < before:
            worse.append(f"of {found.events} events {after} were {name}, but {before} by the champion")
    alarms = new.unexplained + old.unexplained
    chance = stats.binomtest(new.unexplained, alarms, alternative="greater").pvalue if alarms else 1.0
    if chance < _SIGNIFICANT:
        worse.append(
            f"{new.unexplained} alarms without an event, but {old.unexplained} of the champion (p = {chance:.2g})"
        )
    return Decision(tuple(insufficient), tuple(worse))
