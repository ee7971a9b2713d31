"""A plain MLflow model, ready to score: one with a signature, and without the other files of a hazardstream package."""

from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from common.arrays import Int
from common.text import shown
from worker.model.backends.backend import Backend
from worker.model.backends.proving import Proven
from worker.model.contract import Contributions, Features, Model, ModelFailedError, Prediction, Task

_ROUNDING = 1e-6
"""By how much a probability may lie outside 0 to 1: sums of float32 do."""
_FEW = 4
_SHOWN = 60  # characters of a text


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
        refused = self._unknown_texts(features)
        kept = np.delete(np.arange(len(features)), list(refused)) if refused else np.arange(len(features))
        given = np.full((len(features), *self.proven.output.shape[1:]), np.nan)
        with self._one_at_a_time:
            if len(kept):
                given[kept], more = self._scored(features.take(kept) if refused else features)
                refused |= {int(kept[row]): why for row, why in more.items()}
        return self._prediction(given, refused)

    def _unknown_texts(self, features: Features) -> dict[int, str]:
        refused: dict[int, str] = {}
        for name, known in self.proven.known_texts.items():
            texts = features.categories[name].tolist()
            if not known.issuperset(texts):
                refused |= {
                    row: f"{name} is '{shown(text, _SHOWN)}', which the model was not trained on"
                    for row, text in enumerate(texts)
                    if text not in known and row not in refused
                }
        return refused

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
            given = self._output(features)
        except Exception as error:
            given = np.full((len(features), *self.proven.output.shape[1:]), np.nan)
            self._score_halves(features, np.arange(len(features)), error, given, refused)
            if not refused:
                raise ModelFailedError(
                    self, f"cannot score rows together that it scores alone: {_text(error)}"
                ) from error
        usable = self._usable(given)
        broken = [row for row in np.flatnonzero(~usable).tolist() if row not in refused]
        refused |= {row: f"the model gives {given[row]} for it" for row in broken}
        if refused:
            self._require_works()
            given[~usable] = np.nan
        return given, refused

    def _output(self, features: Features) -> NDArray[np.float64]:
        given = self.proven.score(features)
        if given.shape[1:] != self.proven.output.shape[1:]:
            raise ValueError(f"it gives an output of shape {given.shape} for {len(features)} rows")
        return given

    def _usable(self, given: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Rows whose output is finite, and lies between 0 and 1 if it is a probability; shape [n]."""
        values = given.reshape(len(given), -1)
        usable = np.asarray(np.isfinite(values).all(axis=1))
        if self.task is not Task.REGRESSION:
            usable &= np.asarray(((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)).all(axis=1))
        return usable

    def _score_halves(
        self, features: Features, rows: Int, error: Exception, given: NDArray[np.float64], refused: dict[int, str]
    ) -> None:
        """Find the rows that make the model fail, for example by a text that it does not know, and score the others.

        Args:
            features: of all rows.
            rows: those in question, which the model cannot score together.
            error: what it raised.
            given: to write the outputs of rows to.
            refused: to write to which rows fail, and why.
        """
        if len(rows) == 1:
            refused[int(rows[0])] = f"the model cannot score it: {_text(error)}"
            return
        for half in np.array_split(rows, 2):
            try:
                given[half] = self._output(features.take(half))
            except Exception as again:  # noqa: BLE001 - a model may raise anything
                self._score_halves(features, half, again, given, refused)

    def _require_works(self) -> None:
        """Check that rows are at fault and not the model: it still scores those that it was tried with."""
        try:
            again = self._output(self.proven.probes.take(slice(0, _FEW)))
        except Exception as error:
            raise ModelFailedError(self, f"cannot score: {_text(error)}") from error
        if not np.array_equal(again, self.proven.output[:_FEW]):
            raise ModelFailedError(self, "gives other scores than when it was loaded: it keeps state from call to call")
        if not (usable := self._usable(again)).all():
            raise ModelFailedError(
                self, f"gives the probability {again[~usable][0]}, which does not lie between 0 and 1"
            )

    def _prediction(self, given: NDArray[np.float64], unscored: dict[int, str]) -> Prediction:
        if self.task is Task.REGRESSION:
            return Prediction(given, unscored=unscored)
        given = np.clip(given, 0.0, 1.0)
        if self.task is Task.BINARY:
            return Prediction(given if given.ndim == 1 else given[:, 1], unscored=unscored)
        label = np.where(np.isnan(given), -1.0, given).argmax(axis=1)
        return Prediction(given[np.arange(len(given)), label], label, given, unscored)


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
