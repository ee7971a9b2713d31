"""The section `alarm` of a pipeline file: what it changes in the model's policy, and the rules beside the model."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from worker.alarms.rules import Rule

_MODEL, _RULES = "model", "rules"
_ADAPTER = TypeAdapter(tuple[Rule, ...])


def overrides(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """What the section says of the model's own alarm policy."""
    return {name: value for name, value in alarm.items() if name not in {_MODEL, _RULES}}


def raised_by_model(alarm: Mapping[str, Any]) -> bool:
    """Whether the model raises alarms by itself."""
    return alarm.get(_MODEL, True) is not False


def rules_of(alarm: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules.

    Raises:
        ValidationError: there is a fault in one.
    """
    return _ADAPTER.validate_python(alarm.get(_RULES, ()))
