"""Alarms of all keys: the model's, and those of rules. A batch is staged first, and merged once it is committed.

The alarms of a rule that was taken out of the pipeline file return to normal with the next reading of their key.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from worker.alarms.rules import NORMAL, REACHED, Rule
from worker.alarms.state_machine import IDLE, RTN, AlarmPolicy, AlarmState, Policy, step, unjudged

MODEL = ""
"""Stands for the model's own alarm, where the name of a rule is asked for."""
# Of a rule that was taken out of the file, and of a model that raises alarms no more.
_GONE = Policy(setpoint=REACHED, deadband=0, on_delay_ms=0, off_delay_ms=0, priorities={})
_SEPARATOR = b"\xff"  # in no UTF-8 text, and so in no key


def state_key(key: bytes, rule: str) -> bytes:
    """Under which key the state of a key's alarm is published: of the model's, the key itself."""
    return key if rule == MODEL else key + _SEPARATOR + rule.encode()


def rule_of(state: bytes) -> tuple[bytes, str]:
    """Key and rule whose state is published under this key."""
    key, _, rule = state.partition(_SEPARATOR)
    return key, rule.decode(errors="replace")


class Transition(NamedTuple):
    """A transition to publish: its row, its kind, the alarm (for RTN, as it was before), and the rule."""

    row: int
    kind: str
    state: AlarmState
    rule: str = MODEL


class StagedAlarms(NamedTuple):
    """The effect of a batch on alarms: transitions in order; last row and new state by partition and `state_key`."""

    transitions: list[Transition]
    changed: dict[tuple[int, bytes], tuple[int, AlarmState]]


class _Readings(NamedTuple):
    """See `Alarms.stage`."""

    partition: list[int]
    keys: list[bytes]
    ts: Int
    probability: Float
    shift: Int | None
    assessable: Bool | None


class Alarms:
    """Alarms of all keys that are not idle, by rule and partition."""

    def __init__(self, policy: AlarmPolicy | None, rules: Sequence[Rule] = ()) -> None:
        """Alarms by these rules, and of the model by this policy; None: the model raises none."""
        self.policy, self.rules = policy, tuple(rules)
        names = (MODEL, *(rule.name for rule in self.rules))
        self._states: dict[str, dict[int, dict[bytes, AlarmState]]] = {name: {} for name in names}

    def assign(self, partition: int, states: dict[bytes, AlarmState]) -> None:
        """Add a partition with its restored states, by `state_key`."""
        for by_partition in self._states.values():
            by_partition[partition] = {}
        for place, state in states.items():
            key, rule = rule_of(place)
            self._states.setdefault(rule, {}).setdefault(partition, {})[key] = state

    def revoke(self, partition: int) -> None:
        """Forget a partition."""
        for by_partition in self._states.values():
            by_partition.pop(partition, None)

    def of(self, partition: int, key: bytes, rule: str = MODEL) -> AlarmState:
        """A key's alarm."""
        return self._states[rule].get(partition, {}).get(key, IDLE)

    def active(self) -> Counter[str]:
        """Active alarms by priority."""
        every = (states for by_partition in self._states.values() for states in by_partition.values())
        return Counter(s.priority for states in every for s in states.values() if s.active)

    def stage(
        self,
        partition: list[int],
        keys: list[bytes],
        ts: Int,
        probability: Float,
        shift: Int | None = None,
        levels: Sequence[Int] = (),
        assessable: Bool | None = None,
    ) -> StagedAlarms:
        """The effect of these readings; the alarms stay unchanged. Rows of a key are in the order of their offsets.

        Args:
            partition: of each reading.
            keys: of each reading.
            ts: event time of each reading, ms, shape [n].
            probability: of each reading, shape [n].
            shift: of the timers before each reading, ms, shape [n]; None for readings in order of time.
            levels: of each rule (worker/alarms/rules.py), shape [n] each.
            assessable: whether the model can judge each reading, shape [n]; None: all of them.
        """
        staged, readings = StagedAlarms([], {}), _Readings(partition, keys, ts, probability, shift, assessable)
        in_force = {rule.name for rule in self.rules}
        if self.policy is not None:
            in_force.add(MODEL)
            self._stage(staged, MODEL, self.policy, readings, None)
        for rule, level in zip(self.rules, levels, strict=True):
            self._stage(staged, rule.name, rule.policy, readings, level)
        for gone in sorted(self._states.keys() - in_force):
            self._stage(staged, gone, _GONE, readings, np.full(len(ts), NORMAL))
        staged.transitions.sort(key=lambda transition: transition.row)
        return staged

    def _stage(self, staged: StagedAlarms, rule: str, policy: Policy, readings: _Readings, level: Int | None) -> None:
        partition, keys, ts, probability, shift, assessable = readings
        value: Float | Int = probability if level is None else level
        reached = value >= policy.setpoint
        if level is None and assessable is not None:
            reached &= assessable
        over = np.flatnonzero(reached)
        # All readings of a key count that reaches the setpoint, so that timers do not depend on batch bounds.
        rising = {(partition[row], keys[row]) for row in over.tolist()}
        held = self._states[rule]
        concerned: list[int] = []
        if rising or any(held.values()):
            places = zip(partition, keys, strict=True)
            concerned = [row for row, (p, k) in enumerate(places) if k in held.get(p, ()) or (p, k) in rising]
        for row in concerned:
            key, now, seen = keys[row], int(ts[row]), float(probability[row])
            place = partition[row], state_key(key, rule)
            before = staged.changed[place][1] if place in staged.changed else self.of(partition[row], key, rule)
            moved = before if shift is None else before.moved(int(shift[row]))
            if level is None and assessable is not None and not assessable[row]:
                after, kind = unjudged(moved), None
            else:
                at = None if level is None else int(level[row])
                after, kind = step(policy, moved, key.decode(), now, seen, at, rule)
            if kind is not None:
                ended = replace(before, peak_probability=max(before.peak_probability, seen))
                staged.transitions.append(Transition(row, kind, ended if kind == RTN else after, rule))
            if after != before:
                staged.changed[place] = row, after

    def merge(self, staged: StagedAlarms) -> None:
        """Apply a staged batch."""
        for (partition, place), (_, state) in staged.changed.items():
            key, rule = rule_of(place)
            if state == IDLE:
                self._states[rule][partition].pop(key, None)
            else:
                self._states[rule][partition][key] = state
