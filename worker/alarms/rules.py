"""Alarm rules: limits on values of a reading, combined, beside the alarm of the model.

The names of limits are those of ISA-18.2. docs/decisions/alarm-rules.md says why a rule is an alarm of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from common.arrays import Bool, Float, Int
from worker.alarms.state_machine import DelayMs, Policy

NORMAL, HELD, REACHED, URGENT = -1, 0, 1, 2
"""Levels of a condition: normal; within the deadband, or missing; limit reached; the further limit reached, too."""

MODEL_NAME = "model"
"""Names the model's own alarm beside the names of rules, where people read it."""
NOT_ASSESSABLE = "not_assessable"
"""Names the alarm, and the field of a prediction, that say that the model cannot judge a key's readings."""
_CONDITION = ("field", "feature", "prediction", "not_assessable", "high", "high_high", "low", "low_low", "deadband")


class Condition(BaseModel):
    """A limit on one value.

    Attributes:
        field: of the reading, in its own unit.
        feature: an input of the model, as the model gets it.
        prediction: the predicted probability or value.
        not_assessable: reached where the model cannot judge the reading; it has no limit.
        high: the limit is reached at or above it.
        high_high: from here up, the on-delay does not apply.
        low: the limit is reached at or below it.
        low_low: from here down, the on-delay does not apply.
        deadband: how far the value must come back from the limit before it counts as normal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    field: str | None = None
    feature: str | None = None
    prediction: Literal[True] | None = None
    not_assessable: Literal[True] | None = None
    high: float | None = None
    high_high: float | None = None
    low: float | None = None
    low_low: float | None = None
    deadband: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_limit_on_one_value(self) -> "Condition":
        given = (self.field, self.feature, self.prediction, self.not_assessable)
        if sum(value is not None for value in given) != 1:
            raise ValueError("it needs one value; give one of field, feature, prediction and not_assessable")
        if self.not_assessable:
            if any(limit is not None for limit in (self.high, self.high_high, self.low, self.low_low)):
                raise ValueError("not_assessable has no limit; take it out")
            return self
        if (self.high is None) == (self.low is None):
            raise ValueError("it needs one limit; give high or low")
        if self.high_high is not None and (self.high is None or self.high_high < self.high):
            raise ValueError("high_high goes with high, and is not below it; correct one of them")
        if self.low_low is not None and (self.low is None or self.low_low > self.low):
            raise ValueError("low_low goes with low, and is not above it; correct one of them")
        return self

    @property
    def judged(self) -> bool:
        """Whether it is about what only the model can judge, so that its level is `HELD` where the model cannot."""
        return self.feature is not None or self.prediction is not None

    def level(self, value: Float) -> Int:
        """Its level at each value, shape [n]; of `not_assessable`, the value is 1 where it is so, else 0."""
        if self.not_assessable:
            return np.where(value > 0, REACHED, NORMAL)
        # A low limit is a high one on the value's negative.
        sign = 1.0 if self.high is not None else -1.0
        limit = sign * float(self.high if self.high is not None else self.low or 0.0)
        further = self.high_high if self.high is not None else self.low_low
        seen = sign * value
        level = np.where(seen < limit - self.deadband, NORMAL, HELD)
        level[seen >= limit] = REACHED
        if further is not None:
            level[seen >= sign * further] = URGENT
        return level


class Rule(BaseModel):
    """When an alarm is raised, by conditions on values. With one condition, it can be written without `any_of`.

    Attributes:
        name: of the rule, which the alarm carries.
        priority: of the alarm.
        urgent_priority: once a limit `high_high` or `low_low` is reached; without it, `priority`.
        any_of: at least one of these is reached.
        all_of: all of these are reached.
        on_delay_ms: event time for which they must stay so before the alarm is raised.
        off_delay_ms: event time for which they must be normal before it returns to normal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    priority: Annotated[str, Field(min_length=1, max_length=64)]
    urgent_priority: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    any_of: tuple[Condition, ...] = ()
    all_of: tuple[Condition, ...] = ()
    on_delay_ms: DelayMs = 0
    off_delay_ms: DelayMs = 0

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name == MODEL_NAME:
            raise ValueError(f"{name!r} stands for the model's own alarm; choose another name")
        return name

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not (given.keys() & set(_CONDITION)) or given.keys() & {"any_of", "all_of"}:
            return given
        condition = {name: value for name, value in given.items() if name in _CONDITION}
        return {name: value for name, value in given.items() if name not in condition} | {"any_of": (condition,)}

    @model_validator(mode="after")
    def _combined_in_one_way(self) -> "Rule":
        if bool(self.any_of) == bool(self.all_of):
            raise ValueError("a rule needs conditions; give them in any_of or in all_of, not in both")
        if self.urgent_priority is not None and not self._urgent:
            raise ValueError("no condition has high_high or low_low; give one, or take urgent_priority out")
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of its conditions."""
        return self.any_of or self.all_of

    @property
    def _urgent(self) -> bool:
        return any(c.high_high is not None or c.low_low is not None for c in self.conditions)

    @cached_property
    def policy(self) -> Policy:
        """How its level becomes an alarm."""
        return Policy(
            setpoint=REACHED,
            deadband=REACHED - HELD,
            on_delay_ms=self.on_delay_ms,
            off_delay_ms=self.off_delay_ms,
            priorities={self.priority: REACHED} | ({self.urgent_priority: URGENT} if self.urgent_priority else {}),
            immediate=URGENT,
        )

    def level(self, value_of: Callable[[Condition], Float], assessable: Bool | None = None) -> Int:
        """Its level at each reading, shape [n].

        Args:
            value_of: gives the values that a condition is about, shape [n].
            assessable: whether the model can judge each reading, shape [n]; None: all of them.
        """
        levels = [condition.level(value_of(condition)) for condition in self.conditions]
        if assessable is not None:
            for condition, found in zip(self.conditions, levels, strict=True):
                if condition.judged:
                    found[~assessable] = HELD
        highest: Int = np.maximum.reduce(levels)
        if self.any_of:
            return highest
        lowest: Int = np.minimum.reduce(levels)
        # Once all are reached, one further limit is enough to do without the on-delay.
        return np.where(lowest >= REACHED, highest, lowest)


def rule_faults(
    rules: Sequence[Rule], fields: Mapping[str, tuple[float, float]]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Faults of rules for readings with these numeric fields: their places, and texts with the fix.

    Args:
        rules: of a pipeline.
        fields: least and greatest value of each; a worker masks others.
    """
    found: list[tuple[tuple[str | int, ...], str]] = []
    names = [rule.name for rule in rules]
    for at, rule in enumerate(rules):
        if rule.name in names[:at]:
            found.append(((at, "name"), f"{rule.name!r} is the name of an earlier rule; give each its own"))
        for condition in rule.conditions:
            if condition.field is not None and condition.field not in fields:
                known = ", ".join(fields)
                found.append(((at,), f"the readings have no number {condition.field!r}; there are {known}"))
            elif condition.field is not None and (why := _without_effect(condition, *fields[condition.field])):
                found.append(((at,), f"{why}; correct it"))
    return found


def _without_effect(condition: Condition, least: float, greatest: float) -> str:
    """Why a limit on a field of this range is always or never reached, or never left again; else empty."""
    bounds = f"{condition.field} is from {least:g} to {greatest:g}"
    if condition.high is not None:
        never, always = max(condition.high, condition.high_high or condition.high) > greatest, condition.high <= least
        stays = condition.high - condition.deadband <= least
    else:
        limit = float(condition.low or 0.0)
        further = limit if condition.low_low is None else condition.low_low
        never, always = min(limit, further) < least, limit >= greatest
        stays = limit + condition.deadband >= greatest
    if never or always:
        return f"{bounds}, so that a limit is {'never' if never else 'always'} reached"
    return f"{bounds}, so that with this deadband the value never counts as normal" if stays else ""


def missing_features(rules: Sequence[Rule], features: Sequence[str]) -> list[str]:
    """Features that rules are about and a model does not have, sorted."""
    named = {c.feature for rule in rules for c in rule.conditions if c.feature is not None}
    return sorted(named - set(features))
