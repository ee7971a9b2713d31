"""Alarm policy and state machine of a key's alarm, in the terms of ISA-18.2 / IEC 62682.

    NORMAL --probability >= setpoint for on_delay, or >= immediate--> ACTIVE
    ACTIVE --below setpoint - deadband for off_delay--> NORMAL (RTN)

Time is event time, so that a repeated computation makes the same transitions. A delay ends when that much event time
has passed over the key's readings since its timer started. For readings in order of time, that is the difference of
their times; for others, running timers are shifted to the same effect (`worker.windows.staged.Staged.shift`).
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.arrays import Float, Int

ACTIVE, RTN = "ACTIVE", "RTN"
_NAMESPACE = uuid.UUID("6f3d2a0e-6c0e-5d2b-9a57-6b1f0a7d4e11")


_LONGEST_DELAY_MS = 2**42  # added to any event time, it fits 64 bits


class AlarmPolicy(BaseModel):
    """When an alarm is raised and when it returns to normal.

    Attributes:
        setpoint: probability at or above which a reading counts towards an alarm; also the prediction threshold.
        deadband: how far below the setpoint the probability must fall before it counts towards a return.
        on_delay_ms: event time for which the probability must stay at or above the setpoint.
        off_delay_ms: event time for which it must stay below setpoint less deadband.
        priorities: priority -> smallest probability of an alarm with it; the highest one that is reached applies.
        immediate: probability from which the on-delay does not apply; None: it always applies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setpoint: float = Field(gt=0, lt=1)
    deadband: float = Field(ge=0, lt=1)
    on_delay_ms: int = Field(ge=0, le=_LONGEST_DELAY_MS)
    off_delay_ms: int = Field(ge=0, le=_LONGEST_DELAY_MS)
    priorities: dict[str, float]
    immediate: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "AlarmPolicy":
        if self.deadband >= self.setpoint:
            raise ValueError(f"deadband {self.deadband} must be smaller than setpoint {self.setpoint}; correct one")
        lowest = min(self.priorities.values(), default=None)
        if lowest is None or lowest > self.setpoint:
            given = "there is none" if lowest is None else f"the lowest begins at {lowest}"
            raise ValueError(
                f"no priority begins at or below the setpoint {self.setpoint}, {given}; correct one of them"
            )
        if self.immediate is not None and self.immediate < self.setpoint:
            raise ValueError(f"immediate {self.immediate} must not be below setpoint {self.setpoint}; correct one")
        return self

    def changed(self, changes: Mapping[str, Any]) -> "AlarmPolicy":
        """This policy with some values changed.

        `immediate` was chosen for the original setpoint and on-delay, so a change of either removes it. With another
        setpoint, the lowest priority begins there, and the deadband is at most half of it.

        Raises:
            ValidationError: the result is not a valid policy.
        """
        own = self.model_dump()
        if {"setpoint", "on_delay_ms"} & changes.keys():
            own["immediate"] = None
        if isinstance(setpoint := changes.get("setpoint"), float):
            lowest = min(self.priorities, key=lambda priority: self.priorities[priority])
            own["priorities"] = {p: max(at, setpoint) for p, at in self.priorities.items()} | {lowest: setpoint}
            own["deadband"] = min(self.deadband, setpoint / 2)
        return AlarmPolicy.model_validate(own | dict(changes))

    def waits(self, probability: float) -> bool:
        """Whether the on-delay applies at this probability."""
        return self.immediate is None or probability < self.immediate

    def priority(self, probability: float) -> str:
        """The priority of an alarm at this probability."""
        reached = {p: at for p, at in self.priorities.items() if at <= max(probability, self.setpoint)}
        return max(reached, key=reached.__getitem__)


@dataclass(frozen=True)
class AlarmState:
    """A key's alarm and its timers. Times are event time in ms; None: the timer does not run."""

    active: bool = False
    priority: str = ""
    alarm_id: str = ""
    pending_since_ts: int | None = None
    clearing_since_ts: int | None = None
    onset_ts: int | None = None
    peak_probability: float = 0.0

    def moved(self, by_ms: int) -> "AlarmState":
        """This state with its running timers shifted."""
        if not by_ms or (self.pending_since_ts is None and self.clearing_since_ts is None):
            return self
        pending, clearing = self.pending_since_ts, self.clearing_since_ts
        return replace(
            self,
            pending_since_ts=None if pending is None else pending + by_ms,
            clearing_since_ts=None if clearing is None else clearing + by_ms,
        )


IDLE = AlarmState()


def alarm_id(key: str, onset_ts: int) -> str:
    """Id of an alarm: the same for the same key and onset (UUID version 5, RFC 9562)."""
    return str(uuid.uuid5(_NAMESPACE, f"{key}/{onset_ts}"))


def step(
    policy: AlarmPolicy, state: AlarmState, key: str, ts: int, probability: float
) -> tuple[AlarmState, str | None]:
    """The effect of one reading on its key's alarm.

    Returns:
        The new state, and the transition: ACTIVE (raised, or raised to a higher priority), RTN, or None.
    """
    return (
        _when_active(policy, state, ts, probability)
        if state.active
        else _when_normal(policy, state, key, ts, probability)
    )


def _when_normal(
    policy: AlarmPolicy, state: AlarmState, key: str, ts: int, probability: float
) -> tuple[AlarmState, str | None]:
    if probability < policy.setpoint:
        return IDLE, None
    since = _began(state.pending_since_ts, ts)
    peak = max(state.peak_probability, probability)
    if ts - since < policy.on_delay_ms and policy.waits(probability):
        return AlarmState(pending_since_ts=since, peak_probability=peak), None
    raised = AlarmState(
        active=True,
        priority=policy.priority(probability),
        alarm_id=alarm_id(key, since),
        onset_ts=since,
        peak_probability=peak,
    )
    return raised, ACTIVE


def _when_active(policy: AlarmPolicy, state: AlarmState, ts: int, probability: float) -> tuple[AlarmState, str | None]:
    peak = max(state.peak_probability, probability)
    if probability < policy.setpoint - policy.deadband:
        since = _began(state.clearing_since_ts, ts)
        if ts - since >= policy.off_delay_ms:
            return IDLE, RTN
        return replace(state, clearing_since_ts=since), None
    priority = policy.priority(probability)
    # The priority of an active alarm never falls: an operator would read that as an improvement.
    higher = policy.priorities[priority] > policy.priorities.get(state.priority, 0.0)
    held = replace(
        state, clearing_since_ts=None, peak_probability=peak, priority=priority if higher else state.priority
    )
    return held, ACTIVE if higher else None


def _began(since: int | None, ts: int) -> int:
    """When a timer started: now, if it does not run or started later (the device's clock was set back)."""
    return ts if since is None else min(since, ts)


class Transition(NamedTuple):
    """A transition to publish: its row, its kind, and the alarm (for RTN, as it was before)."""

    row: int
    kind: str
    state: AlarmState


class StagedAlarms(NamedTuple):
    """The effect of a batch on alarms: transitions in order; last row and new state of each changed key."""

    transitions: list[Transition]
    changed: dict[tuple[int, bytes], tuple[int, AlarmState]]


class Alarms:
    """Alarms of all keys that are not idle, by partition."""

    def __init__(self, policy: AlarmPolicy | None) -> None:
        """Alarms by this policy; None: none are raised."""
        self.policy = policy
        self._states: dict[int, dict[bytes, AlarmState]] = {}

    def assign(self, partition: int, states: dict[bytes, AlarmState]) -> None:
        """Add a partition with its restored states."""
        self._states[partition] = states

    def revoke(self, partition: int) -> None:
        """Forget a partition."""
        self._states.pop(partition, None)

    def of(self, partition: int, key: bytes) -> AlarmState:
        """A key's alarm."""
        return self._states.get(partition, {}).get(key, IDLE)

    def active(self) -> Counter[str]:
        """Active alarms by priority."""
        return Counter(s.priority for states in self._states.values() for s in states.values() if s.active)

    def stage(
        self, partition: list[int], keys: list[bytes], ts: Int, probability: Float, shift: Int | None = None
    ) -> StagedAlarms:
        """The effect of these readings; the alarms stay unchanged. Rows of a key are in the order of their offsets.

        Args:
            partition: of each reading.
            keys: of each reading.
            ts: event time of each reading, ms, shape [n].
            probability: of each reading, shape [n].
            shift: of the timers before each reading, ms, shape [n]; None for readings in order of time.
        """
        if self.policy is None:
            return StagedAlarms([], {})
        over = np.flatnonzero(probability >= self.policy.setpoint)
        # All readings of a key count that reaches the setpoint, so that timers do not depend on batch bounds.
        rising = {(partition[row], keys[row]) for row in over.tolist()}
        held = self._states
        concerned: list[int] = []
        if rising or any(held.values()):
            places = zip(partition, keys, strict=True)
            concerned = [row for row, (p, k) in enumerate(places) if k in held[p] or (p, k) in rising]
        staged = StagedAlarms([], {})
        for row in concerned:
            place = partition[row], keys[row]
            before = staged.changed[place][1] if place in staged.changed else self.of(*place)
            moved = before if shift is None else before.moved(int(shift[row]))
            after, kind = step(self.policy, moved, keys[row].decode(), int(ts[row]), float(probability[row]))
            if kind is not None:
                ended = replace(before, peak_probability=max(before.peak_probability, float(probability[row])))
                staged.transitions.append(Transition(row, kind, ended if kind == RTN else after))
            if after != before:
                staged.changed[place] = row, after
        return staged

    def merge(self, staged: StagedAlarms) -> None:
        """Apply a staged batch."""
        for (partition, key), (_, state) in staged.changed.items():
            if state == IDLE:
                self._states[partition].pop(key, None)
            else:
                self._states[partition][key] = state
