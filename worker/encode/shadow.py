"""A challenger scores in the champion's shadow: the same windows and readings, no influence on predictions and alarms.

Nothing that a challenger does may affect the champion. It scores on a thread of its own while the champion's records
are encoded. The loop waits a few milliseconds for it, and then continues without it. A challenger that is too slow for
several batches in a row pauses for a while; one that fails is dropped until its alias points to another version.
"""

import math
import threading
import time
import zlib
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import structlog

from common.arrays import Bool, Float, Int
from common.text import in_label
from worker.alarms.alarms import MODEL, Alarms, StagedAlarms, Transition
from worker.alarms.state_machine import RTN, AlarmPolicy
from worker.config.topology import Topology
from worker.kafka.records import Bulk, Outgoing
from worker.model.contract import Features, Model, Task
from worker.observe.metrics import ShadowMetrics, show
from worker.observe.worker_status import Status
from worker.score.assess import Assessor
from worker.score.outcome import Outcome
from worker.score.predict import predict

_LOG = structlog.get_logger(__name__)
_MISSES = 10
"""After this many batches in a row that it was too slow for, the challenger pauses."""
_REST_S = 60.0
"""How long it pauses. Waiting for `_MISSES` batches once in this time costs the champion next to nothing."""


@dataclass
class Challenger:
    """A model in the shadow.

    Attributes:
        alarms: those that it would raise. They start empty, and are not stored.
        assess: says which readings it can judge.
        misses: batches in a row that it was too slow for.
        rests_until: when it is tried again, by the shadow's clock.
        counted: ids of active alarms that are counted, the champion's and its own.
    """

    model: Model
    alarms: Alarms
    assess: Assessor
    partitions: set[int] = field(default_factory=set)
    misses: int = 0
    rests_until: float = -math.inf
    counted: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))


class ShadowScored(NamedTuple):
    """A challenger's result for a batch.

    Attributes:
        challenger: who scored.
        rows: of the scored readings, those that it scored, shape [m].
        probability: shape [m].
        positive: whether it reaches the challenger's setpoint, and the challenger can judge the reading, shape [m].
        alarms: what its alarms would do; rows count within `rows`.
    """

    challenger: Challenger
    rows: Int
    probability: Float
    positive: Bool
    alarms: StagedAlarms


class _Attempt(threading.Thread):
    """Scores one batch. A thread that hangs does not keep the process from ending."""

    def __init__(self, challenger: Challenger, rows: Int, features: Features) -> None:
        super().__init__(name="challenger", daemon=True)
        self.challenger, self.rows, self._features = challenger, rows, features
        self.probability: Float | None = None
        self.fault = ""

    def run(self) -> None:
        """Score the batch; the result, or the fault, is in the attributes."""
        try:
            predicted = predict(self.challenger.model, self._features)
            self.rows, probability = self.rows[predicted.rows], predicted.prediction.value
            if probability.shape != self.rows.shape or not ((probability >= 0) & (probability <= 1)).all():
                self.fault = f"gives no probability for each of {len(self.rows)} readings"
            else:
                self.probability = probability
        except Exception as error:  # noqa: BLE001 - whatever an unpickled scaler raises is the challenger's affair
            self.fault = f"{type(error).__name__}: {error}"


class Shadow:
    """A side output: scores batches by a challenger, as long as there is one.

    Args:
        share: of the keys, by a hash of the key: each is scored always or never.
        max_ms: longest that a batch waits.
        encode: makes records of what was scored.
        status: shows which challenger scores, or why none does.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        share: float,
        max_ms: int,
        encode: Callable[[Outcome, ShadowScored], Bulk],
        status: Status,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encode, self._clock = encode, clock
        self._too_slow = (
            f"{_MISSES} batches in a row took it more than {max_ms} ms (HAZARDSTREAM_CHALLENGER_MAX_MS): it rests for "
            f"{_REST_S:.0f} s and is then tried again"
        )
        self._below, self._max_s = share * 2**32, max_ms / 1000
        self._status, self._metrics = status, status.metrics.shadow
        self._challenger: Challenger | None = None  # replaced as a whole, from another thread
        self._running: _Attempt | None = None  # the last one started
        self._due: _Attempt | None = None  # that of the current batch
        self._shadowed: ShadowScored | None = None

    # Called from other threads than the loop's -------------------------------------------------------------------

    def adopt(self, model: Model, policy: AlarmPolicy | None, topology: Topology) -> None:
        """Have another challenger score from the next batch on."""
        self._challenger = Challenger(model, Alarms(policy), Assessor(model, topology))
        show(self._metrics.info, {(in_label(model.name), in_label(model.version)): 1})
        self._status.challenger = _shown(model)

    def leave(self) -> None:
        """Stop scoring with a challenger."""
        self._challenger, self._status.challenger = None, None
        self._metrics.info.clear()

    # Called by the loop -----------------------------------------------------------------------------------------

    def begin(self, outcome: Outcome, assigned: Container[int]) -> None:
        """Start to score a batch that the champion has scored, on a thread of its own."""
        self._due = self._shadowed = None
        challenger, running = self._challenger, self._running
        if challenger is None:
            return
        unfit, rests = _unfit(challenger.model, outcome.model), self._clock() < challenger.rests_until
        self._say(challenger, unfit or (self._too_slow if rests else None))
        if unfit is not None:
            return
        for gone in {n for n in challenger.partitions if n not in assigned}:
            challenger.partitions.discard(gone)
            challenger.alarms.revoke(gone)
        rows = self._sampled(outcome)
        if not len(rows):
            return
        if rests:
            self._metrics.missed.inc(len(rows))
            return
        if running is not None and running.is_alive() and running.challenger is challenger:
            self._miss(challenger, len(rows))
            return
        self._due = self._running = _Attempt(challenger, rows, outcome.scored.features.take(rows))
        self._due.start()

    def records(self, outcome: Outcome, _assigned: Container[int]) -> Outgoing:
        """Records of the challenger's scores; none where nobody scores the batch, or not in time."""
        if self._due is None:
            return Outgoing({}, [])
        self._due.join(self._max_s)
        if self._due.is_alive():
            self._miss(self._due.challenger, len(self._due.rows))
            return Outgoing({}, [])
        if self._due.probability is None:
            self._metrics.missed.inc(len(self._due.rows))
            self._fail(self._due.challenger, self._due.fault)
            return Outgoing({}, [])
        self._shadowed = self._alarmed(outcome, self._due, self._due.probability)
        return Outgoing(self._encode(outcome, self._shadowed), [])

    def committed(self, outcome: Outcome) -> None:
        """Merge the challenger's alarms, and count its scores."""
        if self._shadowed is not None:
            self._shadowed.challenger.alarms.merge(self._shadowed.alarms)
            _count(self._metrics, outcome, self._shadowed)
        self._due = self._shadowed = None

    def aborted(self) -> None:
        """Forget the challenger's scores of the batch."""
        self._due = self._shadowed = None

    def _alarmed(self, outcome: Outcome, attempt: _Attempt, probability: Float) -> ShadowScored:
        challenger, rows = attempt.challenger, attempt.rows
        challenger.misses = 0
        origin, ts = outcome.scored.origin.take(rows), outcome.scored.readings.ts[rows]
        partition = origin.partition.tolist()
        for number in set(partition) - challenger.partitions:
            challenger.partitions.add(number)
            challenger.alarms.assign(number, {})
        features = outcome.scored.features.take(rows)
        assessable = challenger.assess(outcome.scored.readings.take(rows), origin, features) == 0
        alarms = challenger.alarms.stage(
            partition, origin.keys, ts, probability, outcome.scored.shift[rows], assessable=assessable
        )
        positive = (probability >= challenger.model.threshold_under(challenger.alarms.policy)) & assessable
        return ShadowScored(challenger, rows, probability, positive, alarms)

    def _sampled(self, outcome: Outcome) -> Int:
        keys = outcome.scored.origin.keys
        if self._below >= 2**32:
            return np.arange(len(keys))
        return np.flatnonzero([zlib.crc32(key) < self._below for key in keys])

    def _say(self, challenger: Challenger, idle: str | None) -> None:
        shown = self._status.challenger
        if challenger is self._challenger and shown is not None and shown["idle"] != idle:
            self._status.challenger = shown | {"idle": idle}
            if idle is not None:
                _LOG.warning("challenger does not score", version=challenger.model.version, reason=idle)

    def _miss(self, challenger: Challenger, readings: int) -> None:
        self._metrics.missed.inc(readings)
        challenger.misses += 1
        if challenger.misses >= _MISSES:
            challenger.misses, challenger.rests_until = 0, self._clock() + _REST_S
            self._metrics.dropped.labels("too_slow").inc()
            self._say(challenger, self._too_slow)

    def _fail(self, challenger: Challenger, fault: str) -> None:
        version = challenger.model.version
        _LOG.error("challenger dropped, the champion goes on", version=version, reason=fault)
        self._metrics.dropped.labels("failed").inc()
        if challenger is self._challenger:
            self._challenger = None
            self._metrics.info.clear()
            self._status.challenger = _shown(challenger.model) | {"idle": f"dropped (failed): {fault}"}


def _unfit(challenger: Model, champion: Model) -> str | None:
    """Why a model cannot score in the champion's shadow; None: it can."""
    if (challenger.name, challenger.version) == (champion.name, champion.version):
        return "it is the champion"
    if (challenger.task, champion.task) != (Task.BINARY, Task.BINARY):
        return "only models with the probability of one class are compared in the shadow"
    if (challenger.spec, challenger.numeric, challenger.categorical) != (
        champion.spec,
        champion.numeric,
        champion.categorical,
    ):
        return "it takes other features, or other windows, than the champion: it cannot score in the shadow"
    return None


def _shown(model: Model) -> dict[str, str | None]:
    return {"name": model.name, "version": model.version, "idle": None}


def _count(metrics: ShadowMetrics, outcome: Outcome, shadowed: ShadowScored) -> None:
    rows, champion = shadowed.rows, outcome.scored.probability[shadowed.rows]
    metrics.scored.inc(len(rows))
    metrics.agreed.inc(int((outcome.positive[rows] == shadowed.positive).sum()))
    metrics.difference.observe(np.abs(champion - shadowed.probability))
    scored = set(rows.tolist())
    both = [t for t in outcome.alarms.transitions if t.row in scored and t.rule == MODEL], shadowed.alarms.transitions
    for model, made, counted in zip(("champion", "challenger"), both, shadowed.challenger.counted, strict=True):
        metrics.alarms.labels(model).inc(_raised(made, counted))


def _raised(transitions: Iterable[Transition], counted: set[str]) -> int:
    """How many alarms are new: a transition to a higher priority is one of an alarm that is active."""
    raised = 0
    for made in transitions:
        if made.kind == RTN:
            counted.discard(made.state.alarm_id)
        elif made.state.alarm_id not in counted:
            counted.add(made.state.alarm_id)
            raised += 1
    return raised
