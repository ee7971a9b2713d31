"""The section `alarm` of a pipeline file: what it changes in the model's policy, and the rules beside the model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from common.times import MINUTE_MS
from worker.alarms.rules import NOT_ASSESSABLE, Condition, Rule

if TYPE_CHECKING:
    from worker.config.pipeline import Pipeline

_MODEL, _RULES = "model", "rules"
_UNJUDGED = Rule(
    name=NOT_ASSESSABLE,
    priority="MAINTENANCE",
    any_of=(Condition(not_assessable=True),),
    on_delay_ms=10 * MINUTE_MS,
    off_delay_ms=MINUTE_MS,
)
_ADAPTER = TypeAdapter(tuple[Rule, ...])


def overrides(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """What the section says of the model's own alarm policy."""
    return {name: value for name, value in alarm.items() if name not in {_MODEL, _RULES}}


def raised_by_model(alarm: Mapping[str, Any]) -> bool:
    """Whether the model raises alarms by itself."""
    return alarm.get(_MODEL, True) is not False


def rules_in_force(pipeline: "Pipeline") -> tuple[Rule, ...]:
    """The rules of a pipeline's file, and the alarm of readings that the model cannot judge, if alarms name rules."""
    rules, alarms = rules_of(pipeline.alarm), pipeline.records.get("alarms")
    if alarms is None or pipeline.outputs.schema_name("rule") not in alarms.rules:
        return rules
    return rules if any(rule.name == NOT_ASSESSABLE for rule in rules) else (*rules, _UNJUDGED)


def rules_of(alarm: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules.

    Raises:
        ValidationError: there is a fault in one.
    """
    return _ADAPTER.validate_python(alarm.get(_RULES, ()))
