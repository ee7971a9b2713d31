"""Whether the evidence suffices to have a challenger take the champion's place, and whether it speaks for it."""

from dataclasses import dataclass

from scipy import stats

from training.evaluation.alarm_outcomes import REQUIRED_WARNING_S
from training.promotion.evidence import Evidence

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Asked:
    """How much must be known.

    Attributes:
        key_days: in the shadow.
        events: confirmed.
    """

    key_days: float = 30.0
    events: int = 5


@dataclass(frozen=True)
class Decision:
    """Why not, in words; nothing: promote.

    Attributes:
        insufficient: what is not known well enough.
        worse: in what the challenger is worse.
    """

    insufficient: tuple[str, ...]
    worse: tuple[str, ...]

    @property
    def promote(self) -> bool:
        """Whether nothing speaks against it."""
        return not (self.insufficient or self.worse)


def decide(found: Evidence, asked: Asked) -> Decision:
    """Hold evidence against what is asked.

    Missed events are few and dear: the challenger must have warned of as many as the champion, and as many in time. Of
    alarms without an event it may have more as long as that may be chance (both saw the same key-days, so of all
    such alarms half should be its own: exact binomial test, one-sided).
    """
    insufficient, worse = [], []
    if found.key_days < asked.key_days:
        insufficient.append(f"{found.key_days:.2f} key-days in the shadow, and {asked.key_days:g} are asked")
    if found.events < asked.events:
        insufficient.append(f"{found.events} confirmed events of keys in the shadow, and {asked.events} are asked")
    old, new = found.champion, found.challenger
    for name, before, after in (
        ("warned of", old.warned, new.warned),
        (f"alarmed at least {REQUIRED_WARNING_S:.0f} s ahead", old.in_time, new.in_time),
    ):
        if after < before:
            worse.append(f"of {found.events} events {after} were {name}, and {before} by the champion")
    alarms = new.unexplained + old.unexplained
    chance = stats.binomtest(new.unexplained, alarms, alternative="greater").pvalue if alarms else 1.0
    if chance < _SIGNIFICANT:
        worse.append(
            f"{new.unexplained} alarms without an event, and {old.unexplained} of the champion (p = {chance:.2g})"
        )
    return Decision(tuple(insufficient), tuple(worse))
