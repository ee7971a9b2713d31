"""Units: read from the names of columns, and converted into those that the fields declare."""

import re
from functools import cache
from typing import Any, NamedTuple

import pint

from common.errors import UserError
from common.text import shown

_BRACKETS = re.compile(r"[\[(#]\s*([^\[\]()#]{1,16})\s*[\])]?\s*$")
_SLASH = re.compile(r"\s/\s*([^/\s]{1,12})\s*$|[a-z.]/\s*([A-Za-zµ°%]{1,4})\s*$")
_LAST_WORD = re.compile(r"[\s_.]([A-Za-zµ°%]{1,8})\s*$")
_SPELT = {
    "": "dimensionless",
    "%": "percent",
    "pct": "percent",
    "‰": "permille",
    "°c": "degC",
    "ºc": "degC",
    "℃": "degC",
    "c": "degC",
    "degc": "degC",
    "deg c": "degC",
    "celsius": "degC",
    "°f": "degF",
    "ºf": "degF",
    "℉": "degF",
    "f": "degF",
    "degf": "degF",
    "deg f": "degF",
    "fahrenheit": "degF",
    "k": "kelvin",
    "sec": "second",
    "secs": "second",
    "seconds": "second",
    "msec": "millisecond",
    "min": "minute",
    "mins": "minute",
    "hr": "hour",
    "hrs": "hour",
    "hours": "hour",
    "minutes": "minute",
    "days": "day",
    "volts": "volt",
    "amps": "ampere",
}
"""Spellings that pint does not know, or reads as something else (C is a coulomb to it, F a farad)."""
_PLAIN = re.compile(r"[A-Za-zµμ°º℃℉%‰Ω][A-Za-z0-9µμ°%Ω/·*^\s-]{0,15}|[%‰°℃℉]")


class Conversion(NamedTuple):
    """From the unit of a column to that of a field: (value - zero) / per. `unit` is how the file writes it.

    With a difference and a division, 77 °F are 25 °C and 3700 mV are 3.7 V to the last digit.
    """

    unit: str
    zero: float = 0.0
    per: float = 1.0

    def sql(self, value: str) -> str:
        """An SQL expression of the converted value; the value itself, to the bit, where the units are the same."""
        moved = value if self.zero == 0 else f"({value}) - {self.zero!r}::DOUBLE"
        return moved if self.per == 1 else f"({moved}) / {self.per!r}::DOUBLE"


@cache
def _registry() -> Any:
    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)
    registry.define("ppb = 1e-9")
    return registry


@cache
def _parsed(text: str) -> Any:
    """A pint unit, or None."""
    spelt = text.strip().rstrip(".")
    name = _SPELT.get(spelt.casefold(), spelt)
    if not _PLAIN.fullmatch(name):
        return None
    try:
        return _registry().Unit(name)
    except Exception:  # noqa: BLE001 - pint raises errors of many kinds for text that is no unit
        return None


def is_unit(text: str) -> bool:
    """Whether a text is nothing but a unit, with or without brackets: `V`, `[mV]`, `(°C)`."""
    inside = text.strip().strip("[]()").strip()
    return bool(inside) and len(inside) <= 16 and _parsed(inside) is not None


def _stated(name: str, row: str) -> tuple[str, bool]:
    """The text of a unit in a column's name or in the line below it, and whether it can be nothing else."""
    if row.strip():
        return row.strip().strip("[]()").strip(), True
    for pattern in (_BRACKETS, _SLASH):
        if found := pattern.search(name):
            return next(text for text in found.groups() if text is not None).strip(), True
    found = _LAST_WORD.search(name)
    return (found[1], False) if found else ("", False)


def conversion(name: str, row: str, target: str, field: str) -> Conversion | None:
    """How a column's values become those of a field; None if the column's name states no unit.

    Args:
        name: of the column.
        row: its unit from a line below the names; may be empty.
        target: the field's unit.
        field: its name, for messages.

    Raises:
        UserError: the column states a unit of another kind of quantity.
    """
    text, certain = _stated(name, row)
    ours = _parsed(target) if target else None
    if not text or ours is None:
        return None
    theirs = _parsed(text)
    if theirs is None:
        return None
    if theirs.dimensionality != ours.dimensionality:
        if certain and theirs.dimensionality:
            raise UserError(
                f"column {shown(name)} is in {shown(text)}, but {field} is in {target}; name another column, or, if "
                f'the name is wrong, write an expression: {field}="{shown(name)}" + 0'
            )
        return None
    zero, one = (_registry().Quantity(value, ours).to(theirs).magnitude for value in (0.0, 1.0))
    return Conversion(text, _round(zero), _round(one - zero))


def _round(value: float) -> float:
    """Without the last digits, where 1/1000 is 0.0010000000000000002."""
    return float(f"{value:.12g}")


_TIME_MS = {
    "ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "msec": 1.0, "millis": 1.0, "milliseconds": 1.0,
    "s": 1e3, "sec": 1e3, "secs": 1e3, "second": 1e3, "seconds": 1e3, "min": 60e3, "mins": 60e3, "minute": 60e3,
    "minutes": 60e3, "h": 3600e3, "hr": 3600e3, "hrs": 3600e3, "hour": 3600e3, "hours": 3600e3, "d": 86400e3,
    "day": 86400e3, "days": 86400e3,
}  # fmt: skip


def time_unit_ms(text: str) -> float | None:
    """Milliseconds in a unit of time; None if the text is no such unit."""
    return _TIME_MS.get(text.strip().casefold())


def stated_time_unit(name: str, row: str) -> str:
    """The unit of time that a column's name or the line below it states; empty if none."""
    text, _ = _stated(name, row)
    if time_unit_ms(text) is not None:
        return text
    return name.strip() if len(name.strip()) > 2 and time_unit_ms(name) is not None else ""
