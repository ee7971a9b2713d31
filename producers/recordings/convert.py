"""Columns of a file as text, numbers and times."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.tseries.api import guess_datetime_format

_MISSING_WORDS = ["", "nan", "na", "n/a", "null", "none"]
_EPOCH_UNITS = ((1e17, 1e-6), (1e14, 1e-3), (1e11, 1.0), (1e9, 1e3))
"""(smallest number, factor to ms) of times since 1970 in ns, us, ms and s. Each range begins before the year 2002 and
ends after 5000 or where the next one begins. Seconds from a start stay below all of them (31 years)."""
_ELAPSED = r"^\d+:\d{1,2}(:\d{1,2}([.,]\d+)?)?$"


def _is_text(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def to_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as trimmed text, empty for nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))


def to_numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as numbers [n], NaN where missing, and a mask [n] of rows that hold something else than a number."""
    wrong = np.zeros(len(column), bool)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column):
        try:
            numbers = column.cast(pa.float64(), safe=False)
        except pa.ArrowException:
            return np.full(len(column), np.nan), ~column.is_null().to_numpy()
        return numbers.to_numpy(zero_copy_only=False).astype(np.float64), wrong
    text = to_text(column)
    missing = pc.is_in(pc.utf8_lower(text), value_set=pa.array(_MISSING_WORDS))
    text = pc.if_else(missing, None, text)
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowException:
        wrong = np.array([t is not None and not _is_number(t) for t in text.to_pylist()])
        numbers = pc.if_else(pa.array(wrong), None, text).cast(pa.float64())
    return numbers.to_numpy(zero_copy_only=False).astype(np.float64), wrong


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowException:
        return False
    return True


@dataclass(frozen=True)
class TimeForm:
    """The format of a column of times.

    Attributes:
        kind: numbers; elapsed (h:mm:ss); iso (ISO 8601); text (another date format); typed (a Parquet type).
        to_ms: factor from numbers to milliseconds.
        relative: whether times count from a start instead of 1970.
        pattern: format of `text`, as strptime takes it.
    """

    kind: Literal["numbers", "elapsed", "iso", "text", "typed"]
    to_ms: float = 1.0
    relative: bool = False
    pattern: str = ""

    @property
    def description(self) -> str:
        """The format in words, for messages."""
        if self.kind == "numbers":
            units = {1e3: "seconds", 1.0: "milliseconds", 1e-3: "microseconds", 1e-6: "nanoseconds"}
            return f"{units[self.to_ms]} {'from the start' if self.relative else 'since 1970'}"
        names = {"elapsed": "h:mm:ss from the start", "iso": "ISO 8601", "typed": "timestamps"}
        return names.get(self.kind, self.pattern)


def time_form(column: pa.ChunkedArray) -> TimeForm:
    """Detect the format of a column, or of the beginning of it, from its typical row."""
    if pa.types.is_duration(column.type) or pa.types.is_time(column.type):
        return TimeForm("typed", relative=True)
    if pa.types.is_temporal(column.type):
        return TimeForm("typed")
    numbers, wrong = to_numbers(column)
    if _is_text(column) and len(wrong) and wrong.mean() > 0.5:
        return _text_form(column)
    known = np.abs(numbers[np.isfinite(numbers)])
    typical = float(np.median(known)) if len(known) else 0.0
    for begin, to_ms in _EPOCH_UNITS:
        if typical >= begin:
            return TimeForm("numbers", to_ms)
    return TimeForm("numbers", 1e3, relative=True)


def _text_form(column: pa.ChunkedArray) -> TimeForm:
    text = to_text(column.slice(0, 1000))
    if pc.mean(pc.match_substring_regex(text, _ELAPSED)).as_py() > 0.5:
        return TimeForm("elapsed", relative=True)
    values = text.to_pandas()
    if pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce").notna().mean() > 0.5:
        return TimeForm("iso")
    with warnings.catch_warnings(action="ignore"):  # pandas warns where a day cannot come first, which is tested here
        guesses = {guess_datetime_format(v, dayfirst=first) for first in (False, True) for v in values[:1000:250]}
    fits = {g: pd.to_datetime(values, utc=True, format=g, errors="coerce").notna().mean() for g in guesses if g}
    best = max(fits, key=fits.__getitem__, default=None)
    return TimeForm("text", pattern=best) if best is not None and fits[best] > 0.5 else TimeForm("iso")


def to_times_ms(column: pa.ChunkedArray, form: TimeForm) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column of times as ms [n], NaN where missing, and a mask of rows that hold no time. Without a zone: UTC."""
    if form.kind == "typed":
        target = pa.duration("ms") if pa.types.is_duration(column.type) else pa.timestamp("ms")
        if pa.types.is_time(column.type):
            target = pa.time32("ms")
        whole = column.cast(target, safe=False)
        stamps = whole.cast(pa.int32()) if pa.types.is_time(target) else whole.cast(pa.int64())
        return stamps.to_numpy(zero_copy_only=False).astype(np.float64), np.zeros(len(column), bool)
    if form.kind == "numbers":
        numbers, wrong = to_numbers(column)
        return numbers * form.to_ms, wrong
    text = to_text(column).to_pandas()
    missing = text.str.lower().isin(_MISSING_WORDS).to_numpy()
    if form.kind == "elapsed":
        # pandas needs all three parts.
        whole = text.str.replace(",", ".").where(text.str.count(":") != 1, text + ":00")
        spans = pd.to_timedelta(whole, errors="coerce")
        unknown, ms = spans.isna().to_numpy(), spans.dt.total_seconds().to_numpy() * 1000
    else:
        pattern = "ISO8601" if form.kind == "iso" else form.pattern
        times = pd.to_datetime(text, utc=True, format=pattern, errors="coerce")
        unknown, ms = times.isna().to_numpy(), times.dt.as_unit("ms").astype("int64").to_numpy().astype(np.float64)
    return np.where(unknown, np.nan, ms), unknown & ~missing
