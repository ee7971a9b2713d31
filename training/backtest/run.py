"""A backtest: recordings go through a model and an alarm policy, and the alarms are matched to events."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.arrays import Bool, Float, Int
from common.errors import UserError
from common.times import DAY_MS
from producers.recordings.mapping import Mapping
from producers.recordings.piece import Piece
from producers.recordings.recording import Recording, open_recording
from producers.recordings.understanding import understanding
from training.backtest.envelope import Envelopes
from training.backtest.labels import given_events, labelled_events
from training.backtest.sampling import thinned_to
from training.backtest.score import RecordingScorer, ScoredPiece
from training.backtest.threads import in_threads, shares
from training.evaluation.alarm_outcomes import Alarm, AlarmOutcomes, apply, match_alarms
from training.evaluation.labelled_event import LabelledEvent, by_key, normal_operation
from training.evaluation.policy_sweep import Trace, policies, sweep, telling
from worker.alarms.rules import NOT_ASSESSABLE
from worker.alarms.state_machine import AlarmPolicy
from worker.config.pipeline import Pipeline
from worker.model.package import ModelPackage

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BacktestOptions:
    """What to run.

    Attributes:
        mapping: the files' columns.
        label_column: column that is 1 from the event on.
        events: file or text with the times of events (see `given_events`).
        every_ms: period that readings are thinned to. 0: not thinned; None: the period of a model that counts readings,
            if they are denser.
        horizon_ms: how long before an event an alarm counts as its warning.
        sweep: whether other alarm policies are tried on the same scores.
    """

    paths: Sequence[Path]
    mapping: Mapping = field(default_factory=Mapping)
    label_column: str | None = None
    events: str | None = None
    every_ms: int | None = None
    horizon_ms: int = 7_200_000
    sweep: bool = True


@dataclass
class Backtest:
    """The result of a backtest.

    Attributes:
        recorded: what was read; its readings are gone. understood: how (see `understanding`).
        scored: number of scored readings; `fed`: number of readings after thinning.
        every_ms: period that each key was thinned to, 0 if it was not.
        normal_days: key-days of normal operation; days: of the whole recording.
        outside: share of the readings before an event whose feature is outside the training reference, by feature.
        not_assessable: number of readings that the model cannot judge, by reason.
        maintenance: alarms that say that it cannot; `alarms` are all others, which are judged.
        short: number of keys with fewer readings than a full window.
        reading_and_scoring_s: wall time from the first file to the last alarm; seconds: of everything.
    """

    recorded: Recording
    understood: dict[str, Any]
    package: ModelPackage
    policy: AlarmPolicy
    events: list[LabelledEvent]
    alarms: list[Alarm]
    judged: AlarmOutcomes
    swept: list[tuple[AlarmPolicy, AlarmOutcomes]]
    envelopes: Envelopes
    refused: Counter[str]
    masked: Counter[str]
    every_ms: dict[int, int]
    horizon_ms: int
    fed: int = 0
    scored: int = 0
    days: float = 0.0
    normal_days: float = 0.0
    outside: dict[str, float] = field(default_factory=dict)
    not_assessable: Counter[str] = field(default_factory=Counter)
    maintenance: list[Alarm] = field(default_factory=list)
    short: int = 0
    reading_and_scoring_s: float = 0.0
    seconds: float = 0.0


def run_backtest(
    options: BacktestOptions,
    pipeline: Pipeline,
    package: ModelPackage,
    policy: AlarmPolicy,
    progress: Progress = lambda _stage, _done, _total: None,
    tell: Callable[[dict[str, Any]], None] = lambda _understood: None,
) -> Backtest:
    """Run recordings through the worker's stages.

    Args:
        options: the recordings, and how to read them.
        pipeline: the pipeline of the simulated worker.
        package: the model.
        policy: the alarm policy.
        progress: called with the stage, how much of it is done, and the total.
        tell: called with how the recordings were understood (see `understanding`), before anything is scored.

    Raises:
        UserError: files, mapping or events cannot be used.
    """
    began = time.perf_counter()
    with open_recording(
        options.paths,
        pipeline,
        options.mapping,
        label=options.label_column,
        progress=lambda name: progress(f"reading {name}", 0, 0),
    ) as recorded:
        how = understanding(recorded, pipeline, options.mapping)
        tell(how)
        events = _events(options, recorded, pipeline)
        every = thinned_to(options.every_ms, package.spec, recorded.periods_ms)
        run = _Run(recorded, pipeline, package, policy, events, options)
        in_threads(
            lambda codes: run.score(recorded.thinned_pieces(every, codes), progress),
            shares({key: span.readings for key, span in recorded.spans.items()}),
        )
        scored_after_s = time.perf_counter() - began
    result = run.result(how, every, progress)
    if not result.scored:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(result.refused.items()))
        raise UserError(f"no reading can be scored ({reasons or 'there is none'}); map the columns with --columns")
    result.reading_and_scoring_s, result.seconds = scored_after_s, time.perf_counter() - began
    return result


def _events(options: BacktestOptions, recorded: Recording, pipeline: Pipeline) -> list[LabelledEvent]:
    events = given_events(options.events, recorded, pipeline.input) if options.events else []
    if options.label_column:
        last = {m: span.last_ts for m, span in recorded.spans.items()}
        events += labelled_events(recorded.pieces(), last)
    return sorted(events, key=lambda e: (e.key, e.ts))


class _Run:
    """Collects results while pieces go through the stages; several threads may score different keys."""

    def __init__(
        self,
        recorded: Recording,
        pipeline: Pipeline,
        package: ModelPackage,
        policy: AlarmPolicy,
        events: list[LabelledEvent],
        options: BacktestOptions,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()
        self._not_assessable: Counter[str] = Counter()
        self._lock, self._fed = threading.Lock(), 0
        self._recorded, self._pipeline, self._package, self._policy = recorded, pipeline, package, policy
        self._events, self._horizon_ms = events, options.horizon_ms
        self._envelopes = self._no_envelopes()
        self._tried = policies(policy) if options.sweep else [policy]
        self._kept: list[Trace] = []
        self._alarms: dict[str, Alarm] = {}
        self._last_ts: dict[int, int] = {}
        self._ms = np.zeros(2)
        self._count: Counter[int] = Counter()
        self._of = by_key(events)
        self._sound = 0
        self._low, self._high = _reference(package)
        self._outside = np.zeros(len(self._low), np.int64)

    def _no_envelopes(self) -> Envelopes:
        return Envelopes(self._recorded.spans, {e.key for e in self._events}, self._policy.setpoint)

    def score(self, pieces: Iterator[Piece], progress: Progress) -> Iterator[None]:
        """Score all readings of some keys, a piece at each step."""
        names, sensors = self._recorded.names, self._recorded.sensors
        scorer = RecordingScorer(self._pipeline, self._package, self._policy, names, sensors)
        envelopes = self._no_envelopes()
        for piece in scorer.score(pieces):
            with self._lock:
                self._take(piece, envelopes)
                progress("scoring", self._fed, len(self._recorded))
            yield
        with self._lock:
            self.refused += scorer.refused
            self._masked += scorer.masked
            self._not_assessable += scorer.not_assessable
            self._envelopes.join(envelopes)

    def _take(self, piece: ScoredPiece, envelopes: Envelopes) -> None:
        self._fed += len(piece.outcome.batch)
        if not len(piece.key):
            return
        scored = piece.outcome.scored
        raised = apply(self._alarms, piece.outcome.alarms.transitions, piece.key, piece.ts)
        transitions, explanations = piece.outcome.alarms.transitions, piece.outcome.explanations
        why = {made.row: explanation for made, explanation in zip(transitions, explanations, strict=True)}
        for alarm, made in raised:
            alarm.contributions = why[made.row].contributions
        sound = self._time(piece.key, piece.ts)
        with np.errstate(invalid="ignore"):
            features = scored.features.numbers[sound]
            self._outside += ((features < self._low) | (features > self._high)).sum(axis=0)
        self._sound += int(sound.sum())
        envelopes.add(piece)
        # No other policy raises an alarm where the model cannot judge either.
        probability = np.where(scored.assessable, piece.probability, 0.0)
        keep = telling(piece.key, piece.ts, probability, self._tried)
        self._kept.append(Trace(piece.key[keep], piece.ts[keep], probability[keep]))

    def _time(self, key: Int, ts: Int) -> Bool:
        """Count the time that these readings cover, and return which of them are outside events."""
        span_ms = self._package.spec.max_span_ms
        sound = np.ones(len(key), np.bool_)
        for number in np.unique(key).tolist():
            at = np.flatnonzero(key == number)
            times, events = ts[at], self._of.get(number, [])
            sound[at] = normal_operation(times, events, 0)
            normal = normal_operation(times, events, self._horizon_ms)
            # Nothing is known of the time in a gap longer than a window.
            steps = np.minimum(np.diff(times, prepend=self._last_ts.get(number, times[0])), span_ms)
            self._ms += steps.sum(), steps[normal].sum()
            self._last_ts[number] = int(times[-1])
            self._count[number] += len(at)
        return sound

    def result(self, understood: dict[str, Any], every: dict[int, int], progress: Progress) -> Backtest:
        """Match the alarms to events, and try the other policies."""
        raised = sorted(self._alarms.values(), key=lambda a: (a.ts, a.key))
        alarms = [alarm for alarm in raised if alarm.rule != NOT_ASSESSABLE]
        columns = zip(*((t.key, t.ts, t.probability) for t in self._kept), strict=True)
        trace = Trace(*(np.concatenate(c) for c in columns)) if self._kept else _NOTHING
        order = np.argsort(trace.key, kind="stable")  # the threads may take turns in any way
        trace = Trace(trace.key[order], trace.ts[order], trace.probability[order])
        names = [key for key, _ in self._recorded.names]
        swept = []
        for entry in sweep(self._tried, trace, names, self._events, self._horizon_ms):
            swept.append(entry)
            progress("trying other alarm policies", len(swept), len(self._tried))
        full = self._package.spec.max_readings
        outside = self._outside / max(self._sound, 1)
        return Backtest(
            self._recorded,
            understood,
            self._package,
            self._policy,
            self._events,
            alarms,
            match_alarms(alarms, self._events, self._horizon_ms),
            swept,
            self._envelopes,
            self.refused,
            self._masked,
            every,
            self._horizon_ms,
            fed=self._fed,
            scored=sum(self._count.values()),
            days=float(self._ms[0] / DAY_MS),
            normal_days=float(self._ms[1] / DAY_MS),
            outside=dict(zip(self._package.spec.names, outside.tolist(), strict=True)),
            not_assessable=self._not_assessable,
            maintenance=[alarm for alarm in raised if alarm.rule == NOT_ASSESSABLE],
            short=sum(n < full for n in self._count.values()),
        )


_NOTHING = Trace(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def _reference(package: ModelPackage) -> tuple[Float, Float]:
    """Bounds of each feature in normal operation of training, shape [f] each; infinite if they are not known."""
    features = len(package.spec.names)
    if package.reference is None:
        return np.full(features, -np.inf), np.full(features, np.inf)
    bins = [column.edges for column in package.reference.columns[:features]]
    return np.array([e[0] for e in bins], np.float64), np.array([e[-1] for e in bins], np.float64)
