"""Clocks that are forged, fast, set back or two: no alarm is muted by them, and none is made by them alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from producers.kafka_publisher import encoder
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, SHIPPED_MODEL
from tests.harness import Stage, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.alarms.alarms import Alarms
from worker.alarms.state_machine import ACTIVE, AlarmPolicy
from worker.consume.message_columns import batch_of
from worker.model.package import load_package
from worker.score.scorer import scorer_of
from worker.windows.feature_spec import FeatureSpec
from worker.windows.keyed_state import KeyedState
from worker.windows.partition import Partition

START_MS, PERIOD_MS, READINGS = 1_780_000_000_000, 10_000, 600
KEY, GROUP = "m", "Rack1"
MAX_FUTURE_MS = PIPELINE.input.max_future_ms
Sensors = tuple[float | None, ...]


@dataclass(frozen=True)
class Sent:
    """A reading, and when it reaches the broker."""

    at: int
    ts: int
    sensors: Sensors
    honest: bool = True
    key: str = KEY


@cache
def developing_fault() -> list[Sent]:
    """600 readings of a module that goes into thermal runaway in the last third."""
    fleet = Fleet(8, 5, faults=1, start_ms=START_MS, span_ms=READINGS * PERIOD_MS, mechanisms=("external_heating",))
    module = fleet.faults[0].module
    steps = [next(fleet.steps(1)) for _ in range(READINGS)]
    values = np.stack([step.values[module] for step in steps])
    heard = ~np.isnan(values).all(axis=1)
    times = START_MS + np.arange(READINGS) * PERIOD_MS
    boxed = values.astype(object)
    boxed[np.isnan(values)] = None
    return [Sent(int(t) + 50, int(t), tuple(v)) for t, v, h in zip(times, boxed.tolist(), heard, strict=True) if h]


@dataclass
class Run:
    """What came of readings, one batch after the other."""

    late: list[Sent] = field(default_factory=list)
    scored: list[Sent] = field(default_factory=list)
    raised: list[Sent] = field(default_factory=list)
    dropped: int = 0
    windows: dict[str, list[bytes]] = field(default_factory=dict)


def run(model: Path, sent: list[Sent], *, live: bool = True, at_a_time: int = 50) -> Run:
    """Score readings. `live`: the broker's timestamp is their time of arrival; else a recording, a year later."""
    encode, package = encoder(PIPELINE, None, SENSORS), load_package(model, version="1")
    scorer = scorer_of(PIPELINE, package, package.policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    scorer.alarms.assign(0, {})
    partitions, found = {0: Partition(0, 0, 0)}, Run()
    year_ms = 0 if live else 366 * 86_400_000
    messages = [
        Message(
            topic="t",
            partition=0,
            offset=offset,
            key=reading.key.encode(),
            value=encode(reading.key, GROUP, reading.ts, list(reading.sensors)),
            timestamp=(1, reading.at + year_ms),
        )
        for offset, reading in enumerate(sent)
    ]
    for start in range(0, len(sent), at_a_time):
        some = sent[start : start + at_a_time]
        outcome = scorer.process(batch_of(messages[start : start + at_a_time]), partitions)
        assert {r.reason for r in outcome.rejections} <= {"late"}
        found.late += [some[r.row] for r in outcome.rejections]
        scored = [some[row] for row in outcome.scored.readings.row.tolist()]
        found.scored += scored
        found.dropped += outcome.deduplicated
        found.raised += [scored[t.row] for t in outcome.alarms.transitions if t.kind == ACTIVE]
        for reading, features in zip(scored, outcome.scored.features.numbers, strict=True):
            found.windows.setdefault(reading.key, []).append(features.tobytes())
        scorer.merge(outcome, partitions)
    return found


def forged(of: Sent, ahead_ms: int, *, copies: int = 1) -> Iterator[Sent]:
    """Readings with a clock that is ahead, right after an honest one."""
    for n in range(copies):
        yield Sent(of.at + 1 + n, of.ts + ahead_ms + n, of.sensors, honest=False)


def every(period: int, ahead_ms: int, copies: int = 1) -> Callable[[list[Sent]], list[Sent]]:
    """`copies` forged readings after every `period` honest ones."""

    def attack(honest: list[Sent]) -> list[Sent]:
        made = []
        for n, reading in enumerate(honest):
            made.append(reading)
            if n % period == 0:
                made += forged(reading, ahead_ms, copies=copies)
        return made

    return attack


def runs_fast(honest: list[Sent]) -> list[Sent]:
    """A clock that gains, is put right at five minutes, and gains again."""
    return [Sent(r.at, r.ts + n % 150 * 1_990, r.sensors) for n, r in enumerate(honest)]


def two_senders(honest: list[Sent]) -> list[Sent]:
    """Two for one key, the second one with its clock 30 s behind."""
    return [s for r in honest for s in (r, Sent(r.at + 1, r.ts - 30_000 + 1, r.sensors))]


def backlog(honest: list[Sent]) -> list[Sent]:
    """Five minutes of readings held back in an outage, and sent in between the live ones later."""
    held, live, made = honest[300:330], honest[:300] + honest[330:], []
    for n, reading in enumerate(live):
        made.append(reading)
        if 300 <= n < 330:
            old = held[n - 300]
            made.append(Sent(reading.at + 1, old.ts, old.sensors, honest=n < 300))
    return made


def first_forged(honest: list[Sent]) -> list[Sent]:
    return [Sent(honest[0].at - 1, honest[0].ts + 299_000, honest[0].sensors, honest=False), *honest]


def garbage_once(honest: list[Sent]) -> list[Sent]:
    return [*honest[:250], *forged(honest[249], MAX_FUTURE_MS), *honest[250:]]


ATTACKS = {
    "+299 s each 290 s": every(29, 299_000),
    "+299 s each 100 s": every(10, 299_000),
    "every other one +299 s": every(1, 299_000),
    "two in a row, +299 s": every(29, 299_000, copies=2),
    "five in a row, +299 s": every(29, 299_000, copies=5),
    "a clock that runs fast": runs_fast,
    "two senders, 30 s apart": two_senders,
    "a backlog between live readings": backlog,
    "the first one forged": first_forged,
    "one as far ahead as is allowed": garbage_once,
}


@pytest.mark.slow  # scores hours of readings
@pytest.mark.parametrize("live", [True, False], ids=["live", "a recording"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_alarm_comes_as_if_all_clocks_were_right(attack: str, live: bool) -> None:
    sent = ATTACKS[attack](developing_fault())
    found = run(SHIPPED_MODEL, sent, live=live)
    assert [s for s in found.late if s.honest] == []
    assert found.dropped == 0
    right = run(SHIPPED_MODEL, [replace(s, ts=s.at - 50) for s in sent])
    off = (found.raised[0].at - right.raised[0].at) / PERIOD_MS
    assert abs(round(off)) <= 3  # a copy arrives 1 ms after its original


@pytest.mark.slow  # scores hours of readings
def test_a_clock_ahead_leaves_the_windows_of_other_keys_as_they_are(model_package: Path) -> None:
    """However short they are cut by time: these have one reading each 40 s, and reach back 15 minutes."""
    honest = developing_fault()[:200]
    others = [Sent(s.at, s.ts, s.sensors, key=f"other{n}") for s in honest[::4] for n in range(2)]
    attackers = [f for s in honest[::20] for f in forged(s, 299_000)]
    alone = run(model_package, others)
    attacked = run(model_package, sorted([*others, *attackers], key=lambda s: s.at))
    for key in ("other0", "other1"):
        assert attacked.windows[key] == alone.windows[key]


ONE = FeatureSpec(sensors=("a",), differences=(), rolling=("a",), windows=(60,), max_span_ms=900_000)
POLICY = AlarmPolicy(setpoint=0.5, deadband=0.1, on_delay_ms=28_000, off_delay_ms=38_000, priorities={"HIGH": 0.5})


def transitions(times: list[tuple[int, int]], probability: list[float]) -> list[tuple[str, int]]:
    """Kind and time of arrival of each transition; times: of the device and of arrival."""
    state, alarms, made = KeyedState(ONE), Alarms(POLICY), []
    slot, clock = state.allocate(1), START_MS
    alarms.assign(0, {})
    for (ts, at), p in zip(times, probability, strict=True):
        clock = max(clock, min(ts, at))
        staged = state.stage(slot, np.array([ts]), np.array([clock]), np.array([[float(at % 1_000_000)]]))
        assert len(staged.row) == 1
        done = alarms.stage([0], [b"m"], np.array([ts]), np.array([p]), staged.shift)
        made += [(t.kind, at) for t in done.transitions]
        alarms.merge(done)
        state.merge(staged)
    return made


@pytest.mark.slow  # scores hours of readings
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.45, 0.6, 0.9]), st.integers(1, 8)), min_size=2, max_size=8),
    st.integers(0, 40),
    st.sampled_from([15_000, 60_000, 299_000, -1, -15_000, -299_000, -440_000]),
)
def test_one_reading_of_another_clock_moves_no_alarm_by_more_than_a_reading(
    stretches: list[tuple[float, int]], place: int, off_ms: int
) -> None:
    """Ahead or behind, it neither mutes an alarm nor raises or clears one by itself."""
    probability = [p for p, n in stretches for _ in range(n)]
    honest = [(START_MS + n * PERIOD_MS, START_MS + n * PERIOD_MS) for n in range(len(probability))]
    place = min(place, len(honest) - 1)
    at = honest[place][1] + 1
    probability.insert(place + 1, probability[place])
    right, wrong = honest.copy(), honest.copy()
    right.insert(place + 1, (at, at))
    wrong.insert(place + 1, (at + off_ms, at))
    expected, found = transitions(right, probability), transitions(wrong, probability)
    assert [kind for kind, _ in found] == [kind for kind, _ in expected]
    assert all(abs(a - b) <= PERIOD_MS for (_, a), (_, b) in zip(expected, found, strict=True))


def await_outcomes(stage: Stage, count: int) -> None:
    wait_until(lambda: stage.outcomes() >= count, f"{count} outcomes")


def test_the_example_of_the_issue_end_to_end(stage: Stage) -> None:
    """600 honest readings, and one stamped 299 s ahead each 290 s."""
    sent = ATTACKS["+299 s each 290 s"](developing_fault())
    encode = encoder(stage.pipeline, None, SENSORS)
    middle = len(sent) // 2
    for half, until in ((sent[:middle], middle), (sent[middle:], len(sent))):
        with stage.worker() as worker:
            stage.publish((s.key, encode(s.key, GROUP, s.ts, list(s.sensors))) for s in half)
            await_outcomes(stage, until)
            worker.kill()
    expected = assert_equals_uninterrupted_run(stage)
    assert not expected.rejected
    assert len(expected.probability) == len(sent)
    assert any(kind == ACTIVE for _, _, kind, _ in expected.transitions)
