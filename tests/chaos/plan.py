"""Which faults happen when: drawn from the seed before the run begins."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SESSION_TIMEOUT_S = 6.0
KINDS_S: dict[str, tuple[float, float]] = {
    "kill_worker": (0.2, 3.0),
    "pause_worker": (1.2 * SESSION_TIMEOUT_S, 1.6 * SESSION_TIMEOUT_S),
    "add_worker": (0.0, 0.0),
    "remove_worker": (0.0, 0.0),
    "kill_broker": (0.5, 4.0),
    "cut_off_worker": (1.2 * SESSION_TIMEOUT_S, 1.6 * SESSION_TIMEOUT_S),
    "kill_registry": (2.0, 8.0),
    "cut_off_silently": (11.5, 15.0),
    "delay_end": (0.0, 3.0),
}
"""Kind of fault -> shortest and longest time before it is mended, seconds. Starting a server again comes on top."""
GAP_S = 5.0
LONGEST_S = max(longest for _, longest in KINDS_S.values())


@dataclass(frozen=True)
class Planned:
    """A fault to come.

    Attributes:
        kind: one of `KINDS_S`.
        at_s: when, seconds after the begin of the fault phase.
        lasts_s: how long until it is mended.
        draw: in [0, 1), which of those it can hit then it does hit.
        silent: for `cut_off_worker`: packets are lost, instead of connections refused. For `delay_end`: the client
            waits in silence until it gives up, instead of finding its connection reset.
    """

    kind: str
    at_s: float
    lasts_s: float
    draw: float
    silent: bool


def plan(seconds: float, seed: int) -> Iterator[Planned]:
    """One fault in each 5 s on average, each kind once in nine, all mended when the time is over.

    Args:
        seconds: length of the fault phase.
        seed: same seed, same faults at the same times.
    """
    rng = np.random.default_rng([seed, 7])
    kinds: list[str] = []
    for n in range(int((seconds - LONGEST_S) // GAP_S)):
        kinds = kinds or rng.permutation(list(KINDS_S)).tolist()
        kind = kinds.pop()
        yield Planned(
            kind=kind,
            at_s=float((n + rng.uniform(0, 0.9)) * GAP_S),
            lasts_s=float(rng.uniform(*KINDS_S[kind])),
            draw=float(rng.random()),
            silent=bool(rng.random() < 0.5),
        )
