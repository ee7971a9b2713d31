"""The course of each key's probability, for plots: its highest value in each of a few hundred spans of time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from training.backtest.score import ScoredPiece
from training.backtest.spool import Span

if TYPE_CHECKING:
    from common.arrays import Float

BINS = 400
_QUIET = 6
_TELLING = 200
"""So many keys are remembered: those with most to tell, and a few quiet ones to fill an empty plot."""


class Envelopes:
    """Courses of the keys worth a look.

    Args:
        spans: time that each key's recording covers.
        telling: keys to remember in any case (up to a bound).
        setpoint: so are keys that reach it.
    """

    def __init__(self, spans: Mapping[int, Span], telling: set[int], setpoint: float) -> None:
        self._spans, self._telling, self._setpoint = spans, telling, setpoint
        self.courses: dict[int, Float] = {}

    def add(self, piece: ScoredPiece) -> None:
        """Take in a piece."""
        for key in np.unique(piece.key).tolist():
            rows = piece.key == key
            span = self._spans[key]
            length = max(span.last_ts - span.first_ts, 1)
            place = np.minimum((piece.ts[rows] - span.first_ts) * BINS // length, BINS - 1)
            course = self.courses.setdefault(key, np.full(BINS, np.nan))
            np.fmax.at(course, place, piece.probability[rows])
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
        """Keys remembered, those with most to tell first."""
        return sorted(self.courses, key=lambda m: (m not in self._telling, -float(np.nanmax(self.courses[m])), m))
