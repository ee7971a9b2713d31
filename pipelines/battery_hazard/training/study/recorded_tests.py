"""Recordings of destructive tests of real cells, scored by the worker's own stages as a pipeline is shipped.

A directory holds `readings.csv.gz` (`test`, `t_s`, `voltage_v`, `mean_temp_c`, `max_temp_c`) and `tests.csv` (`test`,
`family`, `runaway_onset_s`, empty if the cell did not run away, and `peak_temp_c`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.arrays import Float, Int
from common.errors import UserError
from producers.recordings.mapping import Mapping
from producers.recordings.piece import Piece
from producers.recordings.recording import open_recording
from producers.recordings.small_table import read_small_table
from training.backtest.score import RecordingScorer
from worker.alarms.state_machine import ACTIVE
from worker.config.alarm_section import overrides
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage

HAZARD_PRIORITIES = ("HIGH", "CRITICAL")
"""Priorities of alarms that say that a cell is in danger."""
_COLUMNS = {
    "ts": "t_s",
    "voltage_v": "voltage_v",
    "avg_surface_temp_c": "mean_temp_c",
    "max_surface_temp_c": "max_temp_c",
}
_TEMPERATURES = ("avg_surface_temp_c", "max_surface_temp_c")
SENSOR_SETS = {
    "voltage, mean and hottest": (),
    "mean and hottest": ("voltage_v",),
    "mean only": ("voltage_v", "max_surface_temp_c"),
}
"""Sets of sensors that the tests are shown with: name, and the sensors left out."""


class DestructiveTest(NamedTuple):
    """A test of one cell. `onset_s`: when it began to run away, s; NaN if it did not. `peak_c`: its hottest, °C."""

    name: str
    family: str
    onset_s: float
    peak_c: float


@dataclass
class Course:
    """What was seen and predicted in a test, at one sampling period.

    Attributes:
        t_s: time of each reading, s; hottest_c: hottest temperature that the sensors show; shapes [n].
        scored_s: time of each scored reading, s; probability: of it, 0 where the model cannot judge it; shapes [m].
        raised_s: first time at which an alarm had a priority, s, by the priority.
    """

    t_s: Float
    hottest_c: Float
    scored_s: Float
    probability: Float
    raised_s: dict[str, float] = field(default_factory=dict)

    def alarmed_s(self, *priorities: str) -> float:
        """When an alarm first had one of these priorities, s; infinite if never."""
        return min((self.raised_s.get(priority, np.inf) for priority in priorities), default=np.inf)

    def peak_by(self, until_s: float) -> float:
        """The greatest probability up to a time; 0 without a reading."""
        return float(self.probability[self.scored_s <= until_s].max(initial=0.0))


def read_tests(directory: Path) -> dict[str, DestructiveTest]:
    """The tests of a directory, by name.

    Raises:
        UserError: `tests.csv` is missing, or lacks a column or a number.
    """
    path = directory / "tests.csv"
    rows = read_small_table(path).rows
    if absent := sorted({"test", "family", "runaway_onset_s", "peak_temp_c"} - rows.keys()):
        raise UserError(f"{path} has no column {', '.join(absent)}; it has {', '.join(rows)}")
    try:
        onset_s = [float(text) if text else np.nan for text in rows["runaway_onset_s"]]
        peak_c = [float(text) for text in rows["peak_temp_c"]]
    except ValueError as error:
        raise UserError(f"{path}: {error}; write seconds in runaway_onset_s, and °C in peak_temp_c") from error
    columns = zip(rows["test"], rows["family"], onset_s, peak_c, strict=True)
    return {row[0]: DestructiveTest(*row) for row in columns}


class RecordedTests:
    """The readings of a directory's tests, ready to be scored at any sampling period and with any set of sensors."""

    def __init__(self, directory: Path, pipeline: Pipeline) -> None:
        """Read them.

        Raises:
            UserError: a file cannot be used, or a test has no readings.
        """
        readings = directory / "readings.csv.gz"
        mapping = Mapping(columns=_COLUMNS, key_columns=("test",), topology={"cells_in_series": 1.0})
        self.tests = read_tests(directory)
        self._pipeline = pipeline
        with open_recording([readings], pipeline, mapping) as recorded:
            self._pieces = list(recorded.pieces())
        self._first_ts = {key: span.first_ts for key, span in recorded.spans.items()}
        self._names, self._sensors, self._origin_ms = recorded.names, recorded.sensors, recorded.origin_ms
        if absent := sorted(self.tests.keys() - {name for name, _ in self._names}):
            raise UserError(f"{readings} has no readings of {', '.join(absent)}; remove them from tests.csv")

    def courses(self, package: ModelPackage, period_s: int, lacking: Sequence[str] = ()) -> dict[str, Course]:
        """The course of each test, by its name.

        Args:
            package: the model.
            period_s: of the readings: the first one in each period is kept.
            lacking: sensors that are left out.
        """
        pieces = [self._seen(piece, lacking) for piece in self._sampled(period_s * 1000)]
        policy = package.policy.changed(overrides(self._pipeline.alarm))
        scorer = RecordingScorer(self._pipeline, package, policy, self._names, self._sensors)
        gathered = _Gathered(len(self._names))
        for scored in scorer.score(pieces):
            judged = np.where(scored.outcome.scored.assessable, scored.probability, 0.0)
            gathered.scored.append((scored.key, self._seconds(scored.ts), judged))
            for made in scored.outcome.alarms.transitions:
                if made.kind == ACTIVE:
                    at = (int(scored.ts[made.row]) - self._origin_ms) / 1000
                    gathered.raised[int(scored.key[made.row])].setdefault(made.state.priority, at)
        temperatures = [self._sensors.index(name) for name in _TEMPERATURES]
        key = np.concatenate([piece.key for piece in pieces])
        ts = self._seconds(np.concatenate([piece.ts for piece in pieces]))
        hottest = np.fmax.reduce(np.concatenate([piece.values[:, temperatures] for piece in pieces]), axis=1)
        of, scored_s, probability = (np.concatenate(column) for column in zip(*gathered.scored, strict=True))
        return {
            name: Course(
                ts[key == number],
                hottest[key == number],
                scored_s[of == number],
                probability[of == number],
                gathered.raised[number],
            )
            for number, (name, _) in enumerate(self._names)
            if name in self.tests
        }

    def _sampled(self, period_ms: int) -> Iterator[Piece]:
        """The first reading of each key in each period; periods begin with the key's first reading."""
        held = (-1, -1)
        for piece in self._pieces:
            first_ts = np.array([self._first_ts[key] for key in piece.key.tolist()])
            period = (piece.ts - first_ts) // period_ms
            key_before, period_before = np.append(held[0], piece.key[:-1]), np.append(held[1], period[:-1])
            held = int(piece.key[-1]), int(period[-1])
            yield piece.take((piece.key != key_before) | (period != period_before))

    def _seconds(self, ts: Int) -> Float:
        return np.asarray((ts - self._origin_ms) / 1000)

    def _seen(self, piece: Piece, lacking: Sequence[str]) -> Piece:
        values = piece.values.copy()
        values[:, [self._sensors.index(name) for name in lacking]] = np.nan
        return piece._replace(values=values)


class _Gathered:
    """What scoring found: key, time and probability of readings by piece, and times of alarms by key and priority."""

    def __init__(self, keys: int) -> None:
        self.scored: list[tuple[Int, Float, Float]] = []
        self.raised: list[dict[str, float]] = [{} for _ in range(keys)]
