"""Times that are numbers: since 1970, days of Excel or Matlab, or counted from a start in a unit that is known."""

from math import isnan
from typing import NamedTuple

from common.errors import UserError
from common.text import shown
from common.times import DAY_MS
from producers.recordings.units import time_unit_ms

_FIRST_MS, _LAST_MS = 946_684_800_000.0, 2_840_140_800_000.0
"""2000 and 2060: what a recording's times since 1970 can be."""
_EPOCHS = (("seconds", 1e3), ("milliseconds", 1.0), ("microseconds", 1e-3), ("nanoseconds", 1e-6))
_SERIALS = {
    "excel": (25_569.0, "Excel days"),
    "excel1904": (24_107.0, "Excel days since 1904"),
    "matlab": (719_529.0, "Matlab days"),
}
_MOST = 0.75
"""Numbers that count from 0 are never to such a share within the range of any unit."""
UNITS = "s, ms, us, ns, min, h, d, excel, excel1904 or matlab"
_FINEST_DAYS, _COARSEST_DAYS = 1e-7, 2e-3
_FINEST_MS, _COARSEST_MS, _LONGEST_MS = 1.0, 6 * 3_600_000.0, 50 * 365 * DAY_MS


class Numbers(NamedTuple):
    """What a column of numbers holds.

    Attributes:
        low, high: 1 % and 99 % of the numbers lie below these. A few wrong ones do not count.
        step: median of the positive differences from row to row; NaN if there is none.
        shares: share of the numbers that are between 2000 and 2060 if they are in this unit (see `in_range`).
    """

    low: float
    high: float
    step: float
    shares: dict[str, float]


def in_range(number: str) -> dict[str, str]:
    """SQL by unit: whether a number is between 2000 and 2060 if it is in this unit."""
    spans = {unit: (_FIRST_MS / to_ms, _LAST_MS / to_ms) for unit, to_ms in _EPOCHS}
    spans |= {unit: (zero + _FIRST_MS / DAY_MS, zero + _LAST_MS / DAY_MS) for unit, (zero, _) in _SERIALS.items()}
    return {unit: f"{number} BETWEEN {low!r}::DOUBLE AND {high!r}::DOUBLE" for unit, (low, high) in spans.items()}


class NumberForm(NamedTuple):
    """How a column of numbers is read: ms since 1970, or from the start, are (number - zero) * to_ms."""

    description: str
    relative: bool
    to_ms: float
    zero: float = 0.0


def number_form(found: Numbers, name: str, *, given: str | None, stated: str, ours: bool) -> NumberForm:
    """The form of a column.

    Args:
        found: its numbers.
        name: of the column, for messages.
        given: the unit that the user gives; one of `UNITS`.
        stated: the unit in the column's name; may be empty.
        ours: whether the column has the name of the field itself, which means seconds if it counts from a start.

    Raises:
        UserError: the unit is not known, or not plausible.
    """
    if given is not None:
        return _of_unit(found, given)
    if stated:
        return _of_unit(found, stated)
    for unit, to_ms in _EPOCHS:
        if found.shares[unit] >= _MOST:
            return NumberForm(f"{unit} since 1970", relative=False, to_ms=to_ms)
    # Half a second to three minutes apart; as seconds that would be more than 500 readings a second.
    fine = _FINEST_DAYS <= found.step < _COARSEST_DAYS
    for unit in ("excel", "matlab"):
        zero, words = _SERIALS[unit]
        if fine and found.shares[unit] >= _MOST:
            return NumberForm(words, relative=False, to_ms=float(DAY_MS), zero=zero)
    step_ms, whole_ms = found.step * 1e3, (found.high - found.low) * 1e3
    if ours and (isnan(step_ms) or _FINEST_MS <= step_ms <= _COARSEST_MS) and whole_ms < _LONGEST_MS:
        return NumberForm("seconds from the start", relative=True, to_ms=1e3)
    raise UserError(
        f"column {shown(name)} counts from {found.low:g} to {found.high:g} in steps of {found.step:g}, and does not "
        f"say in which unit; give it with --time-unit {UNITS}"
    )


def _of_unit(found: Numbers, unit: str) -> NumberForm:
    serial = _SERIALS.get(unit.casefold())
    if serial is not None:
        return NumberForm(serial[1], relative=False, to_ms=float(DAY_MS), zero=serial[0])
    to_ms = time_unit_ms(unit)
    if to_ms is None:
        raise UserError(f"--time-unit: {unit!r} is not a unit of time; give {UNITS}")
    words = {1e3: "seconds", 1.0: "milliseconds", 1e-3: "microseconds", 1e-6: "nanoseconds", 6e4: "minutes"}
    words |= {3.6e6: "hours", 8.64e7: "days"}
    absolute = found.low * to_ms >= _FIRST_MS and found.high * to_ms <= _LAST_MS and to_ms <= 1e3
    return NumberForm(f"{words[to_ms]} {'since 1970' if absolute else 'from the start'}", not absolute, to_ms)
