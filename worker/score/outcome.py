"""The result of scoring a batch."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from common.arrays import Bool, Float, Int
from worker.alarms.alarms import StagedAlarms
from worker.model.contract import Features, Model, Prediction
from worker.model.shap import Explanation
from worker.score.aggregates import AggregatedBatch
from worker.score.batch import Batch
from worker.score.readings import Origin, Readings, Rejection
from worker.score.windows import StagedReadings


@dataclass(frozen=True)
class Scored:
    """Live readings of a batch with their scores, in the order of the batch. Shapes [n].

    imputed: shape [n, sensors]. masked: shape [n, sensors and categories of the readings].
    shift: ms, see `worker.windows.staged.Staged.shift`.
    reason: why the model cannot judge the reading: number of a reason of its `assessable`, less one; 0 where it can.
    """

    readings: Readings
    origin: Origin
    features: Features
    prediction: Prediction
    in_window: Int
    masked: Bool
    imputed: Bool
    shift: Int
    reason: Int

    def only(self, rows: Int) -> "Scored":
        """Some of the readings; `prediction` is of these already."""
        return replace(
            self,
            readings=self.readings.take(rows),
            origin=self.origin.take(rows),
            features=self.features.take(rows),
            in_window=self.in_window[rows],
            masked=self.masked[rows],
            imputed=self.imputed[rows],
            shift=self.shift[rows],
            reason=self.reason[rows],
        )

    @property
    def probability(self) -> Float:
        """The predicted value; a probability, but for regression."""
        return self.prediction.value

    @property
    def assessable(self) -> Bool:
        """Whether the model can judge the reading."""
        assessable: Bool = self.reason == 0
        return assessable


@dataclass(frozen=True)
class Outcome:
    """The result of a batch.

    Attributes:
        model: the model that scored it.
        threshold: of binary models: probability from which a reading counts as positive.
        batch: as consumed; the rows of rejections are its rows.
        scored: the readings that were scored; the rows of alarms are its rows.
        alarms: what the batch does to alarms.
        explanations: why the model gave its probability, for each transition of `alarms`.
        rejections: live messages that become dead letters.
        deduplicated: live readings that were dropped as duplicates.
        replayed: messages that were committed earlier, and only rebuild windows.
        clocks: stream time after the batch, by partition.
        staged: what the batch adds to the windows.
        aggregated: what it adds to the aggregates; None if the pipeline has none.
    """

    model: Model
    threshold: float
    batch: Batch
    scored: Scored
    alarms: StagedAlarms
    explanations: list[Explanation]
    rejections: list[Rejection]
    deduplicated: int
    replayed: int
    clocks: dict[int, int]
    staged: StagedReadings
    aggregated: AggregatedBatch | None = None

    @property
    def positive(self) -> Bool:
        """Of binary models: which readings count as positive, shape [n]; one that cannot be judged does not."""
        return (self.scored.probability >= self.threshold) & self.scored.assessable

    def unjudged(self) -> Counter[str]:
        """How many readings the model cannot judge, by reason."""
        reasons = () if self.model.assessable is None else self.model.assessable.reasons
        counts = np.bincount(self.scored.reason, minlength=len(reasons) + 1).tolist()
        return Counter({why: count for why, count in zip(reasons, counts[1:], strict=True) if count})

    @cached_property
    def next_offsets(self) -> dict[int, int]:
        """Offset behind the batch's last message, by partition."""
        return dict(zip(self.batch.partition.tolist(), (self.batch.offset + 1).tolist(), strict=True))
