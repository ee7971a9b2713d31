"""A run over many batches of payloads, with an account of verdicts, times and memory."""

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import psutil

from tests.fuzz.judge import Judge, broker_times, message_keys
from tests.fuzz.payloads import Source, payload, source
from tests.fuzz.writers import START_MS, Writers

BATCH_SIZES = (1, 2, 37, 500, 2000)
EVOLVED = 300
MEMORY_EVERY = 10  # batches
TRACED_SLOWER = 20
"""A batch whose allocations are traced takes about ten times as long, so it may take this many times the limit."""


class HangError(AssertionError):
    """A batch took longer than it may."""


@dataclass
class Account:
    """What a run came to. Times in s (of the processor for `decode`), sizes in bytes."""

    payloads: int = 0
    batches: int = 0
    accepted: int = 0
    by_columns: int = 0
    proven_by_fastavro: int = 0
    bytes: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    slowest_decode_s: float = 0.0
    largest_peak_bytes: int = 0
    largest_peak_to_batch: float = 0.0
    rss_before_bytes: int = 0
    rss_after_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """All of it, with rates, ready for JSON."""
        rates = {
            "payloads_per_second": round(self.payloads / self.seconds),
            "decoded_per_second": round(self.payloads / self.decode_seconds),
        }
        return vars(self) | rates


def run(
    seed: int,
    *,
    payloads: float = float("inf"),
    seconds: float = float("inf"),
    limit_s: float = 5.0,
    progress: Callable[[Account], None] = lambda _: None,
) -> Account:
    """Decode and validate until either bound is reached.

    Args:
        seed: the same seed and number of payloads make the same run.
        payloads: how many at least.
        seconds: for how long at least.
        limit_s: processor time that a batch may take to decode, if its allocations are not traced.
        progress: told after each batch.

    Raises:
        DifferenceError: two ways of reading disagree.
        HangError: a batch took longer than `limit_s`.
    """
    rng = Random(seed)
    writers = Writers(rng, EVOLVED)
    at_hand, judge, account = source(rng, writers), Judge(writers), Account()
    process, began = psutil.Process(), time.perf_counter()
    _turn(
        rng, at_hand, judge, Account(), float("inf")
    )  # so that caches are filled before memory and time are looked at
    judge.by_columns = judge.proven = 0
    account.rss_before_bytes = process.memory_info().rss
    while account.payloads < payloads and account.seconds < seconds:
        _turn(rng, at_hand, judge, account, limit_s)
        account.seconds = time.perf_counter() - began
        account.by_columns, account.proven_by_fastavro = judge.by_columns, judge.proven
        progress(account)
    account.rss_after_bytes = process.memory_info().rss
    return account


def _turn(rng: Random, at_hand: Source, judge: Judge, account: Account, limit_s: float) -> None:
    made = [payload(rng, at_hand) for _ in range(rng.choice(BATCH_SIZES))]
    values = [value for _, value in made]
    traced = account.batches % MEMORY_EVERY == 0
    if traced:
        tracemalloc.start()
    started = time.thread_time()
    readings, refused = judge.decode(values)
    took = time.thread_time() - started
    size = sum(len(v or b"") for v in values)
    if traced:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        account.largest_peak_bytes = max(account.largest_peak_bytes, peak)
        if size > 100_000:
            account.largest_peak_to_batch = max(account.largest_peak_to_batch, peak / size)
    if took > limit_s * (TRACED_SLOWER if traced else 1):
        raise HangError(f"{len(values)} payloads of {size} bytes took {took:.1f} s of processor time to decode")
    judge.compare(values, readings, refused)
    wrong = np.array([rng.random() < 0.1 for _ in values])
    given = np.array([rng.random() < 0.8 for _ in values])
    when_ms = rng.choice([START_MS, START_MS + 10**9])
    invalid = judge.validate(
        readings, message_keys(readings, len(values), wrong), broker_times(len(values), when_ms, given)
    )
    account.batches += 1
    account.payloads += len(values)
    account.bytes += size
    account.decode_seconds += took
    account.slowest_decode_s = max(account.slowest_decode_s, took)
    verdicts = {r.row: r.reason for r in (*refused, *invalid)}
    account.accepted += len(values) - len(verdicts)
    account.reasons.update(verdicts.values())
    for row, (kind, _) in enumerate(made):
        account.by_kind.setdefault(kind, Counter())[verdicts.get(row, "accepted")] += 1
