"""Streaming sketches of scored readings: counts of a sample of the readings, by site and hour of event time.

They are for monitoring. A sketch is published once its hour has passed in its partition's stream time, in the
transaction of the current batch, so none is published twice. What a killed worker had counted of that hour is lost.
"""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from common.arrays import NEVER, Int
from common.times import HOUR_MS
from schemas.codec import encode
from schemas.load import parsed
from schemas.wire import parse_prefix, prefix_of, single_object_prefix
from worker.config.pipeline import Monitor, Pipeline
from worker.kafka.records import Outgoing, Record
from worker.model.contract import Model
from worker.model.reference import Reference
from worker.score.batch import Batch
from worker.score.outcome import Outcome
from worker.score.readings import Readings

SAMPLED = 16
"""One reading in this many is counted. Readings of a key hardly change within minutes, so more would add nothing."""
WHOLE_FLEET = "all"
OTHER_SITES = "(others)"
_SITES_KEPT = 200
_KEYS_KEPT = 100_000  # a cell
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: Knuth, The Art of Computer Programming, volume 3, 6.4
_SAMPLED_BELOW = np.uint64(2**64 // SAMPLED)


class Cell(NamedTuple):
    """What a sketch is of: partition, site, start of the hour (ms), version of the model that scored, its bins."""

    partition: int
    site: str
    hour_ts: int
    version: str
    reference: str


@dataclass
class Sketch:
    """Counts of a cell. counts: shape [columns, width of the reference]; missing: shape [sensors of the model]."""

    model: Model
    sensors: tuple[str, ...]
    reference: Reference
    counts: Int
    missing: Int
    readings: int = 0
    last_offset: int = 0
    keys: set[bytes] = field(default_factory=set)
    schemas: Counter[str] = field(default_factory=Counter)

    def add(self, counts: Int, missing: Int, batch: Batch, rows: Int, keys: Iterable[bytes]) -> None:
        """Add these rows of a batch to the sketch."""
        self.counts += counts
        self.missing += missing
        self.readings += len(rows)
        self.last_offset = int(batch.offset[rows].max())
        if len(self.keys) < _KEYS_KEPT:
            self.keys.update(keys)
        in_headers = {row: str(key) for row in rows.tolist() if (key := batch.framed.get(row)) is not None}
        self.schemas.update(in_headers.values())
        values = (batch.values[row] or b"" for row in rows.tolist() if row not in in_headers)
        for prefix, count in Counter(map(prefix_of, values)).items():
            self.schemas[str(parse_prefix(prefix)[0])] += count


def sampled(offset: Int) -> Int:
    """Rows to count, chosen by a hash of their offsets [n]: independent of batches and of periodic readings."""
    hashed = offset.astype(np.uint64) * _GOLDEN
    return np.flatnonzero(hashed < _SAMPLED_BELOW)


class Sites:
    """Names the site of a reading by the pipeline's rule. A flood of names ends up as one site."""

    def __init__(self, monitor: Monitor) -> None:
        self._pattern = None if monitor.site is None else re.compile(monitor.site.pattern)
        self._by_key = monitor.site is not None and monitor.site.of == "key"
        self._known: set[str] = set()

    def of(self, readings: Readings) -> list[str]:
        """The site of each reading."""
        if self._pattern is None:
            return [WHOLE_FLEET] * len(readings.row)
        names = readings.key if self._by_key else readings.group
        return [self._site(self._pattern.match(names[row])) for row in range(len(names))]

    def _site(self, found: re.Match[str] | None) -> str:
        site = found[1] if found else OTHER_SITES
        if site not in self._known:
            if len(self._known) >= _SITES_KEPT:
                return OTHER_SITES
            self._known.add(site)
        return site


class Sketcher:
    """A side output: counts committed readings, and publishes each sketch once it is complete.

    Args:
        pipeline: its `monitor` says what a site is and where sketches go.
        monitor: that of the pipeline.
        prefix: wire-format prefix of sketches; None: single-object encoding.
        counted: called with the number of readings that were counted of a batch.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        monitor: Monitor,
        prefix: bytes | None = None,
        counted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._counted = counted
        schema = monitor.sketches.avro_schema
        self._schema, self._prefix = parsed(schema), prefix or single_object_prefix(schema)
        self._topic, self._sensors = monitor.sketches.topic, pipeline.input.sensors()
        self._sites = Sites(monitor)
        self._open: dict[Cell, Sketch] = {}
        self._model: Model | None = None
        self._clock: dict[int, int] = {}
        self._published: list[Cell] = []  # in the transaction of the current batch

    def begin(self, outcome: Outcome, assigned: Container[int]) -> None:
        """Nothing to start."""

    def records(self, _outcome: Outcome, assigned: Container[int]) -> Outgoing:
        """Records of the sketches that are complete."""
        self._published = [
            cell
            for cell, sketch in self._open.items()
            if cell.hour_ts + HOUR_MS <= self._clock[cell.partition]
            or cell.partition not in assigned
            or sketch.model is not self._model
        ]
        return Outgoing({}, [self._record(cell, self._open[cell]) for cell in self._published])

    def aborted(self) -> None:
        """Keep the sketches that were to be published."""
        self._published = []

    def committed(self, outcome: Outcome) -> None:
        """Drop the sketches that were published, and count the batch."""
        for cell in self._published:
            del self._open[cell]
        self._published = []
        self._counted(self._count(outcome))

    def _count(self, outcome: Outcome) -> int:
        self._model = model = outcome.model
        clock_before = dict(self._clock)
        for number, clock in outcome.clocks.items():
            self._clock[number] = max(clock, self._clock.get(number, NEVER))
        scored, batch, reference = outcome.scored, outcome.batch, model.reference
        rows = sampled(scored.origin.offset)
        if not len(rows) or reference is None:
            return 0
        kept, origin = scored.readings.take(rows), scored.origin.take(rows)
        partition = origin.partition
        # A device whose clock lags counts in the current hour; otherwise hours would stay open forever.
        earliest = np.array([clock_before.get(p, NEVER) for p in partition.tolist()]) // HOUR_MS * HOUR_MS
        hour = np.maximum(kept.ts // HOUR_MS * HOUR_MS, earliest)
        places = zip(partition.tolist(), self._sites.of(kept), hour.tolist(), strict=True)
        cells = [Cell(*place, model.version, reference.digest) for place in places]
        numbered = {cell: n for n, cell in enumerate(dict.fromkeys(cells))}
        of = np.array([numbered[cell] for cell in cells])
        bins = reference.bins(scored.features.numbers[rows], scored.probability[rows])
        columns, width = bins.shape[1], reference.width
        flat = (of[:, None] * columns + np.arange(columns)) * width + bins
        counts = np.bincount(flat.ravel(), minlength=len(numbered) * columns * width)
        counts = counts.reshape(len(numbered), columns, width)
        sensors = self._sensors if model.spec is None else model.spec.sensors
        missing = np.zeros((len(numbered), len(sensors)), np.int64)
        np.add.at(missing, of, np.isnan(kept.values[:, [self._sensors.index(name) for name in sensors]]))
        for cell, n in numbered.items():
            sketch = self._open.get(cell)
            if sketch is None:
                nothing = np.zeros_like(counts[n]), np.zeros_like(missing[n])
                sketch = self._open[cell] = Sketch(model, sensors, reference, *nothing)
            rows_of = np.flatnonzero(of == n)
            keys_of = (origin.keys[row] for row in rows_of.tolist())
            sketch.add(counts[n], missing[n], batch, kept.row[rows_of], keys_of)
        return len(rows)

    def _record(self, cell: Cell, sketch: Sketch) -> Record:
        fields = {
            "site": cell.site,
            "hour_ts": cell.hour_ts,
            "model_name": sketch.model.name,
            "model_version": sketch.model.version,
            "reference": sketch.reference.digest,
            "readings": sketch.readings,
            "keys": len(sketch.keys),
            "columns": dict(zip(sketch.reference.names, sketch.counts.tolist(), strict=True)),
            "missing": dict(zip(sketch.sensors, sketch.missing.tolist(), strict=True)),
            "schemas": dict(sketch.schemas),
            "source_partition": cell.partition,
            "source_offset": sketch.last_offset,
        }
        value = encode(fields, self._schema, self._prefix)
        return Record(self._topic, cell.partition, cell.site.encode(), value)
