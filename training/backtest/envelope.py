"""The course of each key's probability, for plots: the highest value in each of 400 equal spans of time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from producers.recordings.piece import Span
from training.backtest.score import ScoredPiece

if TYPE_CHECKING:
    from common.arrays import Float

BINS = 400
_QUIET = 6
_TELLING = 200
"""How many keys are kept: those with events or alarms, and a few others to fill an empty plot."""


class Envelopes:
    """Courses of the most relevant keys.

    Args:
        spans: time span of each key's recording.
        telling: keys to keep in any case (up to a bound).
        setpoint: keys that reach it are kept, too.
    """

    def __init__(self, spans: Mapping[int, Span], telling: set[int], setpoint: float) -> None:
        self._spans, self._telling, self._setpoint = spans, telling, setpoint
        self.courses: dict[int, Float] = {}

    def add(self, piece: ScoredPiece) -> None:
        """Add a piece."""
        for key in np.unique(piece.key).tolist():
            rows = piece.key == key
            span = self._spans[key]
            length = max(span.last_ts - span.first_ts, 1)
            place = np.minimum((piece.ts[rows] - span.first_ts) * BINS // length, BINS - 1)
            course = self.courses.setdefault(key, np.full(BINS, np.nan))
            np.fmax.at(course, place, piece.probability[rows])
        if len(self.courses) > 2 * _TELLING:
            self._prune()

    def join(self, other: "Envelopes") -> None:
        """Add the courses of other keys."""
        self.courses |= other.courses
        if len(self.courses) > 2 * _TELLING:
            self._prune()

    def _prune(self) -> None:
        ranked = self.ranked()
        telling = [m for m in ranked if self._tells(m)][:_TELLING]
        quiet = [m for m in ranked if not self._tells(m)][:_QUIET]
        current = next(reversed(self.courses))
        self.courses = {m: self.courses[m] for m in dict.fromkeys([*telling, *quiet, current])}

    def _tells(self, key: int) -> bool:
        return key in self._telling or bool(np.nanmax(self.courses[key]) >= self._setpoint)

    def ranked(self) -> list[int]:
        """The kept keys: first those with events, then by highest probability."""
        return sorted(self.courses, key=lambda m: (m not in self._telling, -float(np.nanmax(self.courses[m])), m))
