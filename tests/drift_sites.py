"""Simulated sites and what the worker's own sketcher makes of them, and made-up ones under watch, without Kafka."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from common.times import DAY_MS, HOUR_MS
from pipelines.battery_hazard.simulator.fleet import SENSORS, Fleet
from pipelines.battery_hazard.training.datasets.features import TOPOLOGY
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from schemas.text_column import TextColumn
from schemas.wire import single_object_prefix
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema
from tests.kept import kept
from training.monitoring.drift.check import SiteState, Watched, check
from training.monitoring.drift.events import DriftEvent, new_baseline, transitions
from training.monitoring.drift.history import Histories
from training.monitoring.watch import Watch
from worker.config.pipeline import Pipeline
from worker.encode.drift_sketch import Sketcher, sampled
from worker.model.contract import Features, Prediction
from worker.model.package import ModelPackage
from worker.model.reference import Reference
from worker.score.batch import Batch
from worker.score.outcome import Outcome, Scored
from worker.score.readings import Origin, Readings
from worker.windows.offline import offline_features

if TYPE_CHECKING:
    from training.monitoring.topics import MonitoringTopics

PERIOD_MS = 60_000
START_MS = 1_767_225_600_000  # midnight
Values = NDArray[np.float64]
PREFIX = single_object_prefix(flagship_schema("SensorReading"))


@dataclass(frozen=True)
class Recording:
    """A site's readings: ts [steps, modules], values [steps, modules, 13]."""

    ts: NDArray[np.int64]
    values: Values

    @property
    def day(self) -> NDArray[np.float64]:
        """Days since the start, [steps, modules]."""
        return np.maximum(self.ts - START_MS, 0) / DAY_MS

    def changed(self, change: Callable[[Values, NDArray[np.float64]], None]) -> "Recording":
        """The same site with something done to its values, given them and the day of each, in place."""
        values = self.values.copy()
        change(values, self.day)
        return Recording(self.ts, values)

    def until(self, day: int) -> "Recording":
        """Its first days."""
        steps = day * DAY_MS // PERIOD_MS
        return Recording(self.ts[:steps], self.values[:steps])


def recording(seed: int, days: int, *, modules: int = 16, season_ms: int = 0) -> Recording:
    """A site in normal operation, nuisances included, beginning so long after midwinter."""

    def simulated() -> Recording:
        start = START_MS + season_ms
        fleet = Fleet(modules, seed, start_ms=start, span_ms=days * DAY_MS, period_ms=PERIOD_MS, nuisances=0.05)
        ts, values = fleet.block(days * DAY_MS // PERIOD_MS)
        return Recording(np.maximum(ts - season_ms, START_MS), values)

    return kept(f"site-{seed}-{days}-{modules}-{season_ms}", simulated)


def sketches(
    recorded: Recording, package: ModelPackage, pipeline: Pipeline, *, prefix: bytes = PREFIX
) -> list[dict[str, Any]]:
    """What a worker publishes of a site's readings."""
    assert pipeline.monitor is not None
    steps, modules = recorded.ts.shape
    key = np.tile(np.arange(modules), steps)
    scales = np.tile(package.spec.scales(TOPOLOGY), (modules, 1))
    ts, values = recorded.ts.ravel(), recorded.values.reshape(-1, len(SENSORS))
    columns = [SENSORS.index(name) for name in package.spec.sensors]
    features, rows = offline_features(package.spec, key, ts, values[:, columns], scales)
    # Offsets are row numbers. The sketcher looks at sampled ones only, so others need not be there.
    chosen = sampled(rows)
    chosen = chosen[np.argsort(rows[chosen])]
    features, rows = features[chosen], rows[chosen]
    probability = package.score(features)
    sketcher = Sketcher(pipeline, pipeline.monitor)
    schema, lookup, published = flagship_schema("FeatureSketch"), writer_schema_lookup(None, KNOWN_SCHEMAS), []
    ends = np.searchsorted(ts[rows], np.arange(START_MS, int(ts[-1]), HOUR_MS) + HOUR_MS)
    for part in np.split(np.arange(len(rows)), ends):
        if len(part):
            some = rows[part]
            outcome = _outcome(
                package, some, key[some], ts[some], values[some], features[part], probability[part], prefix
            )
            due = sketcher.records(outcome, {0}).records
            published += [decode(cast("bytes", record.value), lookup, schema) for record in due]
            sketcher.committed(outcome)
    return published


def _outcome(
    package: ModelPackage,
    offset: NDArray[np.int64],
    key: NDArray[np.int64],
    ts: NDArray[np.int64],
    values: Values,
    features: Values,
    probability: Values,
    prefix: bytes,
) -> Outcome:
    n = len(offset)
    keys = [f"Rack{k // 8}_Module{k % 8}".encode() for k in key.tolist()]
    partition = np.zeros(n, np.int64)
    batch = Batch(list(keys), [prefix] * n, partition, offset, ts, np.ones(n, np.int64))
    groups = TextColumn.of([name.split(b"_")[0] for name in keys])
    readings = Readings(np.arange(n), TextColumn.of(keys), groups, ts, values, ~np.isnan(values))
    none = np.zeros(values.shape, np.bool_)
    scored = Scored(
        readings,
        Origin(keys, partition, offset, ts),
        Features(features, {}),
        Prediction(probability),
        np.ones(n, np.int64),
        none,
        none,
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )
    clocks = {0: int(ts.max())}
    nobody = cast("Any", None)
    return Outcome(package, 0.5, batch, scored, nobody, [], [], 0, 0, clocks, nobody)


@dataclass(frozen=True)
class Found:
    """What a check found."""

    watched: list[Watched]
    states: dict[str, SiteState]
    events: list[DriftEvent]

    def days_after(self, since_day: float) -> dict[tuple[str, str], float]:
        """By kind and subject, how many days after a day it was first told."""
        first: dict[tuple[str, str], float] = {}
        for event in self.events:
            first.setdefault((event.kind, event.subject), (event.ts - START_MS) / DAY_MS - since_day)
        return first


def found(of: dict[str, list[dict[str, Any]]], reference: Reference | None) -> Found:
    """Check the sketches of sites."""
    histories = Histories()
    for site, published in of.items():
        for sketch in published:
            histories.add(sketch | {"site": site})
    watched, states = check(histories.current(), reference, {})
    return Found(watched, states, transitions(watched, states))


class Memory:
    """Monitoring topics in memory."""

    def __init__(self) -> None:
        self.pipeline = PIPELINE
        assert self.pipeline.monitor is not None
        self.monitor = self.pipeline.monitor
        self.unread: dict[str, list[dict[str, Any]]] = {role: [] for role in ("sketches", "events", "labels", "alarms")}

    def news(self, role: str) -> list[dict[str, Any]]:
        read, self.unread[role] = self.unread[role], []
        return read

    def publish(self, role: str, records: list[tuple[str, dict[str, Any]]]) -> None:
        self.unread[role] += [record for _, record in records]


class MadeUpSite:
    """A watched site, whose sketches are made up hour by hour."""

    def __init__(self, reference: Reference) -> None:
        self.reference, self.topics, self.hour = reference, Memory(), 0
        self.watch = Watch(cast("MonitoringTopics", self.topics), lambda: reference)
        self.rng = np.random.default_rng(0)

    def goes_on(
        self, hours: int, *, digest: str | None = None, dead: bool = False, schema: str = "id 1", shift: bool = False
    ) -> None:
        """So many hours more are counted."""
        bins = self.reference.width - 1
        shares = np.arange(bins) >= bins // 2 if shift else np.ones(bins)
        for hour in range(self.hour, self.hour + hours):
            counts = {n: [*self.rng.multinomial(400, shares / shares.sum()).tolist(), 0] for n in self.reference.names}
            self.topics.unread["sketches"].append(
                {
                    "site": "North",
                    "hour_ts": START_MS + hour * HOUR_MS,
                    "model_name": "m",
                    "model_version": "1" if digest is None else "2",
                    "reference": digest or self.reference.digest,
                    "readings": 400,
                    "keys": 16,
                    "columns": counts,
                    "missing": {"offgas_co_ppm": 400 if dead else 4, "voltage_v": 4},
                    "schemas": {schema: 400},
                    "source_partition": 0,
                    "source_offset": hour,
                }
            )
        self.hour += hours

    def restart_baseline(self, day: int) -> None:
        self.topics.publish("events", [("North", new_baseline("North", START_MS + day * DAY_MS).record())])

    def new_events(self) -> list[tuple[str, str, str, str]]:
        """Kind, subject, state and message of the new events of a check."""
        look = self.watch.look(publish=True)
        records = [event.record() for event in look.new_events]
        return [(r["kind"], r["subject"], r["state"], r["message"]) for r in records]

    def active(self) -> set[tuple[str, str, str]]:
        return set(self.watch.look(publish=False).active)
