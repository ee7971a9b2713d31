"""Recorded readings through the worker's own stages: validate, windows, features, model, alarms.

Each key gets its own partition, and so its own stream time, whatever the order of keys in the files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.arrays import Bool, Float, Int
from producers.recordings.piece import Piece
from schemas.text_column import TextColumn
from worker.alarms.state_machine import AlarmPolicy
from worker.config.alarm_section import raised_by_model, rules_in_force
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage
from worker.score.batch import columns_only
from worker.score.columns import GivenReadings
from worker.score.outcome import Outcome
from worker.score.readings import Readings
from worker.score.scorer import Scorer
from worker.windows.partition import Partition


class ScoredPiece(NamedTuple):
    """A piece of the recording with its scores. `key` [n]: number of the key of each scored reading."""

    key: Int
    outcome: Outcome

    @property
    def ts(self) -> Int:
        """Event time of each scored reading, ms, shape [n]."""
        return self.outcome.scored.readings.ts

    @property
    def probability(self) -> Float:
        """Shape [n]."""
        return self.outcome.scored.probability


class RecordingScorer:
    """Scores pieces of a recording.

    Args:
        pipeline: the pipeline of the simulated worker.
        package: the model.
        policy: the alarm policy.
        names: key and group of each key.
        sensors: the pipeline's sensors that the pieces hold.

    Attributes:
        refused: number of readings that a worker would not score, by reason.
        masked: number of values that a worker would mask, by sensor.
        not_assessable: number of readings that the model cannot judge, by reason.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        package: ModelPackage,
        policy: AlarmPolicy,
        names: Sequence[tuple[str, str]],
        sensors: Sequence[str],
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self.not_assessable: Counter[str] = Counter()
        self._all = pipeline.input.sensors()
        self._at = [self._all.index(s) for s in sensors]
        self._keys = [key.encode() for key, _ in names]
        self._key_text = TextColumn.of(self._keys)
        self._group_text = TextColumn.of([group.encode() for _, group in names])
        self._decode = GivenReadings()
        self._scorer = Scorer(
            self._decode,
            pipeline,
            package,
            policy if raised_by_model(pipeline.alarm) else None,
            rules=rules_in_force(pipeline),
        )
        self._partitions: dict[int, Partition] = {}

    def score(self, pieces: Iterable[Piece]) -> Iterator[ScoredPiece]:
        """Score pieces in the order of `Recording.pieces`, which keeps the readings of a key together."""
        for piece in pieces:
            heard: Bool = np.asarray(~np.isnan(piece.values).all(axis=1))
            if not heard.all():
                self.refused["no sensor has a value"] += int((~heard).sum())
                piece = piece.take(heard)  # noqa: PLW2901 - the same piece, fewer rows
            if len(piece.key):
                yield self._score(piece)

    def _score(self, piece: Piece) -> ScoredPiece:
        n = len(piece.key)
        for number in np.unique(piece.key).tolist():
            if number not in self._partitions:
                self._partitions[number] = Partition(number, 0, 0)
                self._scorer.alarms.assign(number, {})
        values = np.full((n, len(self._all)), np.nan)
        values[:, self._at] = piece.values
        rows = np.arange(n)
        key, group = self._key_text.take(piece.key), self._group_text.take(piece.key)
        self._decode.readings = Readings(rows, key, group, piece.ts, values, ~np.isnan(values))
        keys = [self._keys[k] for k in piece.key.tolist()]
        outcome = self._scorer.process(columns_only(keys, piece.key, rows, piece.ts), self._partitions)
        self._scorer.merge(outcome, self._partitions)
        self._count(outcome)
        # Readings come key by key: every key but the last one of the piece is complete.
        for number in list(self._partitions):
            if number != int(piece.key[-1]):
                self._scorer.revoke(self._partitions.pop(number))
        return ScoredPiece(piece.key[outcome.scored.readings.row], outcome)

    def _count(self, outcome: Outcome) -> None:
        self.refused.update(r.reason for r in outcome.rejections)
        self.not_assessable.update(outcome.unjudged())
        if outcome.deduplicated:
            self.refused["duplicate"] += outcome.deduplicated
        for at in np.flatnonzero(outcome.scored.masked.any(axis=0)).tolist():
            self.masked[self._all[at]] += int(outcome.scored.masked[:, at].sum())
