"""What is done to which request, and when the broker gets it after all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tests.kafka_proxy import Api, Rule

LEAST = 12
"""A run of fewer schedules proves too little."""
_HELD_S = 11.5
"""Longer than the client waits for an answer: `transaction.timeout.ms` (10 s) less 0.1 s."""
_ILLEGAL_GENERATION = 22
# The worker aborts its transaction when it is told this; the broker has nothing against it.
_MAKE_IT_ABORT = Rule(Api.TXN_OFFSET_COMMIT, "fail", error=_ILLEGAL_GENERATION)

Kill = Literal["never", "at once", "later"]


@dataclass(frozen=True)
class Schedule:
    """One run of a worker with something done to its requests.

    Attributes:
        name: says what is done.
        rules: for the proxy. The last one is about the request that comes late.
        kill: whether the worker is killed (SIGKILL) and started again: never, as soon as the last rule has caught its
            request, or once that rule has done all it says.
    """

    name: str
    rules: tuple[Rule, ...]
    kill: Kill


_COMMIT = Rule(Api.END_TXN, "hold", committed=True)
_ABORT = Rule(Api.END_TXN, "hold", committed=False)
_BASE: dict[str, tuple[Rule, ...]] = {
    "commit delayed into the next transaction": (_COMMIT,),
    "commit delayed until offsets are added": (replace(_COMMIT, deliver_after=Api.TXN_OFFSET_COMMIT),),
    "commit delayed by several transactions": (replace(_COMMIT, deliver_after=Api.PRODUCE, ends=3),),
    "commit duplicated": (replace(_COMMIT, action="duplicate"),),
    "commit's response dropped": (replace(_COMMIT, action="drop_response"),),
    "abort delayed into the next transaction": (_MAKE_IT_ABORT, _ABORT),
    "abort delayed until records are there": (_MAKE_IT_ABORT, replace(_ABORT, deliver_after=Api.PRODUCE)),
    "abort duplicated": (_MAKE_IT_ABORT, replace(_ABORT, action="duplicate")),
    "abort's response dropped": (_MAKE_IT_ABORT, replace(_ABORT, action="drop_response")),
    "AddPartitionsToTxn delayed past the end": (Rule(Api.ADD_PARTITIONS_TO_TXN, "hold"),),
    "AddOffsetsToTxn delayed past the end": (Rule(Api.ADD_OFFSETS_TO_TXN, "hold"),),
    "Produce delayed past the end": (Rule(Api.PRODUCE, "hold"),),
    "TxnOffsetCommit delayed into the next transaction": (
        Rule(Api.TXN_OFFSET_COMMIT, "hold", deliver_after=Api.TXN_OFFSET_COMMIT),
    ),
    "TxnOffsetCommit and commit delayed, in turn": (
        Rule(Api.TXN_OFFSET_COMMIT, "hold", deliver_after=Api.TXN_OFFSET_COMMIT, ends=2),
        _COMMIT,
    ),
    "commit delayed, and InitProducerId of the renewal": (
        replace(_COMMIT, ends=2),
        Rule(Api.INIT_PRODUCER_ID, "hold", deliver_after=Api.PRODUCE),
    ),
}


def schedules(seed: int) -> Iterator[Schedule]:
    """All of them: each with the connection reset, with silence until the client gives up, and with a kill.

    Args:
        seed: decides which of a kind of request is hit.
    """
    rng = np.random.default_rng([seed, 11])
    for name, rules in _BASE.items():
        nth = int(rng.integers(3, 25))
        hit = (replace(rules[0], nth=nth), *rules[1:])
        yield Schedule(f"{name}; reset", hit, "never")
        yield Schedule(f"{name}; reset; killed at once", hit, "at once")
        yield Schedule(f"{name}; reset; killed later", hit, "later")
        silent = tuple(replace(rule, cut=False, least_s=_HELD_S) for rule in hit)
        yield Schedule(f"{name}; silence", silent, "never")
    for end in ((_COMMIT,), (_MAKE_IT_ABORT, _ABORT)):
        repeated = (*end[:-1], replace(end[-1], action="repeat"))
        yield Schedule(f"{'commit' if len(end) == 1 else 'abort'} repeated at once", repeated, "never")
