"""Error texts for Pydantic faults in settings, pipeline files, records and packages."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from common.text import shown

_TEXTS: Mapping[str, str] = {
    "missing": "it is missing; add it",
    "extra_forbidden": "there is no such field; remove it or correct its name",
    "string_type": "it must be text; put it in quotes",
    "finite_number": "it must be a finite number",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a mapping of names to values",
}
# Their texts say what was given, or there is nothing to show.
_WITHOUT_VALUE = {"missing", "extra_forbidden", "avro_schema"}
_SHOWN = (str, int, float, bool, type(None))


class Fault(NamedTuple):
    """One fault. `str` of it names the field and the problem.

    Attributes:
        at: path to the value: field names and list indices.
        kind: Pydantic's code, such as `missing`.
        text: the problem.
    """

    at: tuple[str | int, ...]
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.at))}: {self.text}" if self.at else self.text


def faults(error: ValidationError, *, with_values: bool = True) -> list[Fault]:
    """All faults of a validation.

    Args:
        error: as Pydantic raised it.
        with_values: whether texts may show values. Not if a value may be a secret.
    """
    found = []
    for one in error.errors(include_url=False):
        text = _TEXTS.get(one["type"]) or one["msg"].removeprefix("Value error, ")
        given = one["input"]
        if with_values and one["type"] not in _WITHOUT_VALUE and isinstance(given, _SHOWN):
            text = f"{text}, not {shown(repr(given))}"
        found.append(Fault(tuple(one["loc"]), one["type"], text))
    return found


def fault_texts(error: ValidationError, *, with_values: bool = True) -> str:
    """All of `faults` in one line."""
    return "; ".join(str(fault) for fault in faults(error, with_values=with_values))
