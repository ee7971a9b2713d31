"""Alarm policy and state machine of a key's alarm, in the terms of ISA-18.2 / IEC 62682.

    NORMAL --probability >= setpoint for on_delay, or >= immediate--> ACTIVE
    ACTIVE --below setpoint - deadband for off_delay--> NORMAL (RTN)

Time is event time, so that a repeated computation makes the same transitions. A delay ends when that much event time
has passed over the key's readings since its timer started. For readings in order of time, that is the difference of
their times; for others, running timers are shifted to the same effect (`worker.windows.staged.Staged.shift`).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

ACTIVE, RTN = "ACTIVE", "RTN"
_NAMESPACE = uuid.UUID("6f3d2a0e-6c0e-5d2b-9a57-6b1f0a7d4e11")
# Added to any event time, the longest delay fits 64 bits.
DelayMs = Annotated[int, Field(ge=0, le=2**42)]


class Policy(BaseModel):
    """When an alarm is raised and when it returns to normal, by a value at each reading.

    Attributes:
        setpoint: value at or above which a reading counts towards an alarm.
        deadband: how far below the setpoint the value must fall before it counts towards a return.
        on_delay_ms: event time for which the value must stay at or above the setpoint.
        off_delay_ms: event time for which it must stay below setpoint less deadband.
        priorities: priority -> smallest value of an alarm with it; the highest one that is reached applies.
        immediate: value from which the on-delay does not apply; None: it always applies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setpoint: float
    deadband: float
    on_delay_ms: DelayMs
    off_delay_ms: DelayMs
    priorities: dict[str, float]
    immediate: float | None = None

    def waits(self, value: float) -> bool:
        """Whether the on-delay applies at this value."""
        return self.immediate is None or value < self.immediate

    def priority(self, value: float) -> str:
        """The priority of an alarm at this value."""
        reached = {p: at for p, at in self.priorities.items() if at <= max(value, self.setpoint)}
        return max(reached, key=reached.__getitem__)


class AlarmPolicy(Policy):
    """When the model raises an alarm and when it returns to normal: the value is the probability.

    Attributes:
        setpoint: probability at or above which a reading counts towards an alarm; also the prediction threshold.
        deadband: how far below the setpoint the probability must fall before it counts towards a return.
        on_delay_ms: event time for which the probability must stay at or above the setpoint.
        off_delay_ms: event time for which it must stay below setpoint less deadband.
        priorities: priority -> smallest probability of an alarm with it; the highest one that is reached applies.
        immediate: probability from which the on-delay does not apply; None: it always applies.
    """

    setpoint: float = Field(gt=0, lt=1)
    deadband: float = Field(ge=0, lt=1)

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


def alarm_id(key: str, onset_ts: int, rule: str = "") -> str:
    """Id of an alarm: the same for the same key, onset and rule (UUID version 5, RFC 9562); the model's has no rule."""
    return str(uuid.uuid5(_NAMESPACE, f"{key}/{onset_ts}" + (f"/\0{rule}" if rule else "")))


def unjudged(state: AlarmState) -> AlarmState:
    """The effect of a reading that the model cannot judge: no alarm begins or ends, and delays start again."""
    return replace(state, pending_since_ts=None, clearing_since_ts=None) if state.active else IDLE


def step(
    policy: Policy, state: AlarmState, key: str, ts: int, probability: float, level: int | None = None, rule: str = ""
) -> tuple[AlarmState, str | None]:
    """The effect of one reading on its key's alarm.

    Args:
        policy: of the alarm.
        state: of the alarm before.
        key: of the reading.
        ts: event time of the reading, ms.
        probability: of the reading, whose peak is kept.
        level: the value that the policy is about; None: the probability.
        rule: whose alarm it is; empty: the model's.

    Returns:
        The new state, and the transition: ACTIVE (raised, or raised to a higher priority), RTN, or None.
    """
    value = probability if level is None else level
    if state.active:
        return _when_active(policy, state, ts, value, probability)
    if value < policy.setpoint:
        return IDLE, None
    since = _began(state.pending_since_ts, ts)
    peak = max(state.peak_probability, probability)
    if ts - since < policy.on_delay_ms and policy.waits(value):
        return AlarmState(pending_since_ts=since, peak_probability=peak), None
    raised = AlarmState(
        active=True,
        priority=policy.priority(value),
        alarm_id=alarm_id(key, since, rule),
        onset_ts=since,
        peak_probability=peak,
    )
    return raised, ACTIVE


def _when_active(
    policy: Policy, state: AlarmState, ts: int, value: float, probability: float
) -> tuple[AlarmState, str | None]:
    peak = max(state.peak_probability, probability)
    if value < policy.setpoint - policy.deadband:
        since = _began(state.clearing_since_ts, ts)
        if ts - since >= policy.off_delay_ms:
            return IDLE, RTN
        return replace(state, clearing_since_ts=since), None
    priority = policy.priority(value)
    # The priority of an active alarm never falls: an operator would read that as an improvement.
    higher = policy.priorities[priority] > policy.priorities.get(state.priority, 0.0)
    held = replace(
        state, clearing_since_ts=None, peak_probability=peak, priority=priority if higher else state.priority
    )
    return held, ACTIVE if higher else None


def _began(since: int | None, ts: int) -> int:
    """When a timer started: now, if it does not run or started later (the device's clock was set back)."""
    return ts if since is None else min(since, ts)
