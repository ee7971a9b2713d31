"""The section `topology` of a pipeline file: how the equipment behind a key is built."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from common.text import shown
from worker.config.inputs_outputs import Strict

_LONGEST = 64


def _parameter(given: Any) -> float | str:
    if isinstance(given, str) and 0 < len(given) <= _LONGEST:
        return given
    if isinstance(given, int | float) and not isinstance(given, bool):
        if not math.isfinite(given):
            raise ValueError(f"it must be a finite number, not {given}")
        if given <= 0:
            raise ValueError(f"it must be greater than 0, not {given}")
        return float(given)
    raise ValueError(f"a parameter is a number above 0 or a text, not {shown(repr(given), _LONGEST)}")


Parameter = Annotated[
    float | str,
    PlainValidator(_parameter),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "minLength": 1, "maxLength": _LONGEST},
            ]
        }
    ),
]
"""A number above 0, or a text."""


class Topology(Strict):
    """How the equipment behind a key is built. A key's parameters win over its group's, and those over the default.

    Attributes:
        per: input field -> the parameter that its value is proportional to. Recordings are rescaled by it.
        default: value of each parameter: a number, or a text that says a type.
        groups: other values for all keys of a group.
        keys: other values for a key.
    """

    per: dict[str, str] = Field(default_factory=dict)
    default: dict[str, Parameter] = Field(default_factory=dict)
    groups: dict[str, dict[str, Parameter]] = Field(default_factory=dict)
    keys: dict[str, dict[str, Parameter]] = Field(default_factory=dict)

    def of(self, key: str, group: str) -> dict[str, float | str]:
        """Parameters of one key."""
        return {**self.default, **self.groups.get(group, {}), **self.keys.get(key, {})}

    @property
    def declared(self) -> list[dict[str, float | str]]:
        """What each declaration says: the default alone, then with each group and with each key."""
        return [dict(self.default), *({**self.default, **own} for own in (*self.groups.values(), *self.keys.values()))]

    def with_texts(self, texts: Mapping[str, str]) -> "Topology":
        """This topology, with these texts for all keys."""
        levels = {"groups": self.groups, "keys": self.keys}
        changed = {
            level: {name: {p: texts.get(p, value) for p, value in own.items()} for name, own in named.items()}
            for level, named in levels.items()
        }
        return self.model_copy(update={"default": {**self.default, **texts}, **changed})


def numbers_in(parameters: Mapping[str, float | str]) -> dict[str, float]:
    """The parameters that are numbers."""
    return {name: value for name, value in parameters.items() if not isinstance(value, str)}


def texts_in(parameters: Mapping[str, float | str]) -> dict[str, str]:
    """The parameters that are texts."""
    return {name: value for name, value in parameters.items() if isinstance(value, str)}
