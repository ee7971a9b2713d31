"""One pass over the loaded readings in the order of the files: periods, times that run backwards, order."""

from dataclasses import dataclass, field

import duckdb
import numpy as np

from common.arrays import Float, Int

BATCH = 131_072
_STEPS_PER_KEY = 2000
_MOST_STEPS = 2_000_000


@dataclass
class Survey:
    """What the order of the readings shows. A series is a key within a file; arrays are by number of the series.

    Attributes:
        step: median of the positive steps from reading to reading, in the unit of the column; NaN if there is none.
        backwards: how often the time runs backwards.
        repeated: how often a reading has the time of the one before it.
        by_series: whether the readings are in the order of series, then time.
        by_time: whether they are in the order of time.
    """

    step: Float
    backwards: Int
    repeated: Int
    by_series: bool = True
    by_time: bool = True
    _steps: list[tuple[Int, Float]] = field(default_factory=list)


def survey(series: int, database: duckdb.DuckDBPyConnection) -> Survey:
    """Look at `readings`, of which each belongs to one of the series in the table `series`."""
    found = Survey(np.full(series, np.nan), np.zeros(series, np.int64), np.zeros(series, np.int64))
    last, taken = np.full(series, np.nan), np.zeros(series, np.int64)
    before = (-1, -np.inf)
    steps: list[tuple[Int, Float]] = []
    rows = database.sql(
        "SELECT s.number, r.time FROM readings r JOIN series s ON r.file = s.file AND r.key = s.key "
        "WHERE r.fault = 0 ORDER BY r.rowid"
        if series > 1
        else "SELECT 0 AS number, time FROM readings WHERE fault = 0"
    )
    for batch in rows.to_arrow_reader(BATCH):
        number, time = map(np.from_dlpack, batch.columns)
        number = number.astype(np.int64)
        found.by_time &= bool((np.diff(time, prepend=before[1]) >= 0).all())
        change = np.diff(number, prepend=before[0])
        found.by_series &= bool(((change > 0) | ((change == 0) & (np.diff(time, prepend=before[1]) >= 0))).all())
        before = (int(number[-1]), float(time[-1]))
        order = np.argsort(number, kind="stable")
        number, time = number[order], time[order]
        first = np.ones(len(number), np.bool_)
        first[1:] = number[1:] != number[:-1]
        previous = np.where(first, last[number], np.roll(time, 1))
        last[number[np.append(np.flatnonzero(first)[1:] - 1, len(number) - 1)]] = time[
            np.append(np.flatnonzero(first)[1:] - 1, len(number) - 1)
        ]
        step = time - previous
        found.backwards += np.bincount(number[step < 0], minlength=series)
        found.repeated += np.bincount(number[step == 0], minlength=series)
        if sum(len(n) for n, _ in steps) < _MOST_STEPS:
            use = (step > 0) & (taken[number] < _STEPS_PER_KEY)
            steps.append((number[use], step[use]))
            taken += np.bincount(number[use], minlength=series)
    if steps:
        _medians(found.step, *(np.concatenate(part) for part in zip(*steps, strict=True)))
    return found


def _medians(into: Float, number: Int, step: Float) -> None:
    order = np.lexsort((step, number))
    number, step = number[order], step[order]
    codes, start, count = np.unique(number, return_index=True, return_counts=True)
    into[codes] = (step[start + (count - 1) // 2] + step[start + count // 2]) / 2
