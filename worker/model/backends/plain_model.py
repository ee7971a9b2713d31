"""A plain MLflow model, ready to score: one with a signature, and without the other files of a hazardstream package."""

from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from worker.model.backends.backend import Backend
from worker.model.backends.batches import MOST_AT_ONCE
from worker.model.backends.proving import Proven
from worker.model.contract import Contributions, Features, Model, ModelFailedError, Prediction, Task

_ROUNDING = 1e-6
"""By how much a probability may lie outside 0 to 1: sums of float32 do."""
_FEW = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainModel(Model):
    """A model of any of the formats in this folder.

    Attributes:
        flavor: MLflow's name of its format.
        backend: the model in its own library.
        proven: what was proven of it when it was loaded.
    """

    flavor: str
    backend: Backend
    proven: Proven
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False)  # not every library may be called by two threads

    def predict(self, features: Features) -> Prediction:
        """See `Model.predict`. Rows that the model cannot score are named in the prediction's `unscored`."""
        unscored: dict[int, str] = {}
        parts = []
        with self._one_at_a_time:
            for start in range(0, len(features), MOST_AT_ONCE):
                rows = np.arange(start, min(start + MOST_AT_ONCE, len(features)))
                given, refused = self._scored(features.take(rows))
                parts.append(given)
                unscored |= {start + row: why for row, why in refused.items()}
        return self._prediction(np.concatenate(parts), unscored)

    def contributions(self, features: Features) -> Contributions | None:
        """See `Model.contributions`."""
        if self.backend.contributions is None:
            return None
        try:
            with self._one_at_a_time:
                given = self.backend.contributions(features)
        except Exception as error:
            raise ModelFailedError(self, f"cannot explain a score: {_text(error)}") from error
        if given.parts.shape != (len(features), len(self.inputs)) or not np.isfinite(given.parts).all():
            raise ModelFailedError(self, "does not explain a score: a contribution is missing or not finite")
        return given

    def _scored(self, features: Features) -> tuple[NDArray[np.float64], dict[int, str]]:
        """Outputs, NaN for rows that the model cannot score, and why it cannot."""
        refused: dict[int, str] = {}
        try:
            given = self.proven.score(features)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            given, refused = self._scored_one_by_one(features, error)
        if given.shape[1:] != self.proven.output.shape[1:]:
            raise ModelFailedError(self, f"gives an output of shape {given.shape} for {len(features)} rows")
        finite = np.isfinite(given.reshape(len(given), -1)).all(axis=1)
        broken = [row for row in np.flatnonzero(~finite).tolist() if row not in refused]
        refused |= {row: f"the model gives {given[row]} for it" for row in broken}
        if refused:
            self._require_works()
        return given, refused

    def _scored_one_by_one(self, features: Features, first: Exception) -> tuple[NDArray[np.float64], dict[int, str]]:
        """Score rows alone, because one of them makes the model fail, for example by a text that it does not know."""
        refused: dict[int, str] = {}
        given = np.full((len(features), *self.proven.output.shape[1:]), np.nan)
        for row in range(len(features)):
            try:
                given[row] = self.proven.score(features.take([row]))[0]
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                refused[row] = f"the model cannot score it: {_text(error)}"
        if not refused:
            raise ModelFailedError(self, f"cannot score rows together that it scores alone: {_text(first)}") from first
        return given, refused

    def _require_works(self) -> None:
        """Check that rows are at fault and not the model: it still scores those that it was tried with."""
        try:
            again = self.proven.score(self.proven.probes.take(slice(0, _FEW)))
        except Exception as error:
            raise ModelFailedError(self, f"cannot score: {_text(error)}") from error
        if not np.array_equal(again, self.proven.output[:_FEW]):
            raise ModelFailedError(self, "gives other scores than when it was loaded: it keeps state from call to call")

    def _prediction(self, given: NDArray[np.float64], unscored: dict[int, str]) -> Prediction:
        if self.task is Task.REGRESSION:
            return Prediction(given, unscored=unscored)
        known = given[np.isfinite(given)]
        if ((known < -_ROUNDING) | (known > 1 + _ROUNDING)).any():
            found = known[(known < -_ROUNDING) | (known > 1 + _ROUNDING)][0]
            raise ModelFailedError(self, f"gives the probability {found}, which does not lie between 0 and 1")
        given = np.clip(given, 0.0, 1.0)
        if self.task is Task.BINARY:
            return Prediction(given if given.ndim == 1 else given[:, 1], unscored=unscored)
        label = np.where(np.isnan(given), -1.0, given).argmax(axis=1)
        return Prediction(given[np.arange(len(given)), label], label, given, unscored)


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
