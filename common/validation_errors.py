"""Error texts for Pydantic faults in settings, pipeline files, records and packages."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from common.text import shown

_TEXTS: Mapping[str, str] = {
    "missing": "it is missing; add it",
    "extra_forbidden": "there is no such field; remove it or correct its name",
    "string_type": "it must be text; put it in quotes",
    "finite_number": "it must be a finite number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "dict_type": "it must be a mapping of names to values",
    "enum": "it must be {expected}",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "int_from_float": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "list_type": "it must be a list",
    "literal_error": "it must be {expected}",
    "model_type": "it must be a mapping of names to values",
    "string_too_long": "it must have at most {max_length} characters",
    "string_too_short": "it must have at least {min_length} characters",
    "too_long": "it must have at most {max_length} entries",
    "too_short": "it must have at least {min_length} entries",
    "tuple_type": "it must be a list",
}
# Their texts say what was given, or there is nothing to show.
_WITHOUT_VALUE = {"missing", "extra_forbidden", "avro_schema"}
_EXACT = 2.0**53
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
        known = _TEXTS.get(one["type"])
        limits = {name: _plain(limit) for name, limit in one.get("ctx", {}).items()}
        text = known.format_map(limits) if known else one["msg"].removeprefix("Value error, ")
        given = one["input"]
        if with_values and one["type"] not in _WITHOUT_VALUE and isinstance(given, _SHOWN):
            text = f"{text}, not {shown(repr(given))}"
        found.append(Fault(tuple(one["loc"]), one["type"], text))
    return found


def _plain(limit: Any) -> Any:
    """2000 for 2000.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() and abs(limit) < _EXACT else limit


def fault_texts(error: ValidationError, *, with_values: bool = True) -> str:
    """All of `faults` in one line."""
    return "; ".join(str(fault) for fault in faults(error, with_values=with_values))
