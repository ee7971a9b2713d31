"""Event-based datasets on disk: one Parquet file per site, in directories for training, validation and test.

    training/site-000123.parquet     all hazardous readings, and every n-th normal one
    validation/…, test/…             every reading, module by module, in order of time

Columns: `series` (number within the file), `ts`, `label`, and the features as float32. The file's metadata describes
each series (`About`). The same seed of a site gives the same file, byte for byte. A site is in one directory only.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from common.errors import UserError
from common.processes import done_in_processes
from pipelines.battery_hazard.simulator.events.ground_truth import Fault, Nuisance
from pipelines.battery_hazard.training.datasets.feature_set import FEATURES, HOT_C
from pipelines.battery_hazard.training.datasets.features import BENCH_SITES, SITES
from pipelines.battery_hazard.training.datasets.labels import AFTERMATH_MS, HAZARD, LEFT_OUT, NORMAL, first_sign
from pipelines.battery_hazard.training.datasets.series import PERIOD_MS, About, Series, SimulatedSite, series_of
from pipelines.battery_hazard.training.fitting.models import Rows

Progress = Callable[[str, int, int], None]
_ABOUT = b"series"
_PROCESSES = 2


def write_sites(
    directory: Path, sites: Sequence[SimulatedSite], *, thin: int | None = None, stage: str, progress: Progress
) -> None:
    """Simulate sites and write a file for each. Files that exist are kept.

    Args:
        directory: where to write; it is created.
        sites: each with its own seed.
        thin: keep every `thin`-th normal reading, and none with the label LEFT_OUT; None keeps all readings.
        stage: name of this work for `progress`.
        progress: called after each site.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pending = [site for site in sites if not site_file(directory, site).exists()]
    done = len(sites) - len(pending)
    progress(stage, done, len(sites))
    if len(pending) < _PROCESSES * 4:  # starting processes takes seconds
        for site in pending:
            _write(directory, site, thin)
            progress(stage, done := done + 1, len(sites))
        return
    for _ in done_in_processes(partial(_write, directory, thin=thin), pending, _PROCESSES):
        progress(stage, done := done + 1, len(sites))


def claim(directory: Path, sites: list[dict[str, Any]]) -> None:
    """Write into a directory which sites it is for.

    Raises:
        UserError: the directory is for other sites.
    """
    directory.mkdir(parents=True, exist_ok=True)
    says, text = directory / "sites.json", json.dumps(sites, indent=1) + "\n"
    if says.exists() and says.read_text() != text:
        raise UserError(f"{directory} holds datasets of another preset or seed; name another directory, or remove it")
    says.write_text(text)


def site_file(directory: Path, site: SimulatedSite) -> Path:
    """Path of the file with the site's series."""
    return directory / f"site-{site.seed:09d}.parquet"


def _schema() -> pa.Schema:
    columns = [("series", pa.int32()), ("ts", pa.int64()), ("label", pa.int8())]
    return pa.schema([*columns, *((name, pa.float32()) for name in FEATURES.names)])


def _write(directory: Path, site: SimulatedSite, thin: int | None) -> None:
    path = site_file(directory, site)
    unfinished = path.with_suffix(".unfinished")
    about = []
    with pq.ParquetWriter(unfinished, _schema(), compression="zstd", write_statistics=False) as writer:
        for number, one in enumerate(series_of(site)):
            about.append(json.dumps(asdict(one.about)))
            rows = _thinned(one, thin)
            columns = [np.full(len(rows), number, np.int32), one.ts[rows], one.label[rows]]
            features = one.features[rows].astype(np.float32)
            # One row group per series, so that series can be read one by one.
            writer.write_table(pa.table([*columns, *features.T], schema=_schema()))
        writer.add_key_value_metadata({_ABOUT: "\n".join(about)})
    unfinished.rename(path)


def _thinned(one: Series, thin: int | None) -> NDArray[np.int64]:
    if thin is None:
        return np.arange(len(one.label))
    number, dense = np.arange(len(one.label)), _dense(one)
    exciting = one.label != NORMAL
    for short in one.about.decaying:  # as many of its first readings as of a short that runs away
        exciting |= (one.ts >= short.start_ts) & (one.ts < short.start_ts + AFTERMATH_MS)
    every = max(1, PERIOD_MS // one.about.period_ms)
    keep = np.where(exciting, dense | (number % every == 0), number % (every * thin) == 0)
    return np.flatnonzero(keep & (one.label != LEFT_OUT))


def _dense(one: Series) -> NDArray[np.bool_]:
    """Rows around the event of a fast series, of which all are kept. Of the others, one per usual period is kept."""
    if one.about.event_ms is None or one.about.period_ms >= PERIOD_MS:
        return np.zeros(len(one.ts), np.bool_)
    return np.abs(one.ts - one.about.event_ms) < _FIRST_MS


def read_series(path: Path) -> Iterator[Series]:
    """The series in a file."""
    with pq.ParquetFile(path) as file:
        about = [_about(line) for line in file.metadata.metadata[_ABOUT].decode().split("\n")]
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            features = np.stack([table[name].to_numpy() for name in FEATURES.names], axis=1)
            if table.num_rows:
                number = table["series"][0].as_py()
                yield Series(about[number], table["ts"].to_numpy(), features, table["label"].to_numpy())


@dataclass(frozen=True)
class StoredSeries:
    """The series in files. Each pass reads them again, one by one: together they take many gigabytes."""

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[Series]:
        for path in self.paths:
            yield from read_series(path)

    def spread(self, most: int) -> Iterator[Series]:
        """At most about `most` of all rows, evenly spread, as series."""
        rows = sum(pq.read_metadata(path).num_rows for path in self.paths)
        every = max(1, -(-rows // most))
        skipped = 0
        for one in self:
            chosen = slice(skipped, None, every)
            skipped = (skipped - len(one.ts)) % every
            # Copies, because a view would keep all rows in memory.
            yield Series(one.about, one.ts[chosen].copy(), one.features[chosen].copy(), one.label[chosen].copy())


def _about(line: str) -> About:
    fields = json.loads(line)
    fault = None if fields["fault"] is None else Fault(**fields["fault"])
    return replace(About(**fields), fault=fault, nuisances=tuple(Nuisance(**n) for n in fields["nuisances"]))


_SUDDEN_MS, _FIRST_MS, _FIRST_COUNT, _DECAYING_COUNT = 600_000, 120_000, 5.0, 0.1
_COOL_COUNT = 0.03
_HOTTEST = FEATURES.names.index("hottest_c")


def _weights(one: Series) -> NDArray[np.float32]:
    """Weights of the rows.

    A second of a fast series counts as much as a second of any other. Where physics gives little warning, the first
    minutes decide, and they are few: they weigh more. A module with a fault, or with a short that decays, is shown with
    many sets of sensors, a healthy one only with its own. Hazards and such shorts are therefore weighted by the share
    of sites with that set; otherwise a model would learn that modules with rare sets fail more often. Shorts that decay
    are a danger for as long as nobody knows that they will, and simulated more often than they occur: they weigh less.

    A single cell below 60 degrees Celsius calls nobody, whatever its voltage: real cells that were shorted stayed below
    and were no danger (docs/model.md). There, hazards weigh less, and shorts that decay as much as anything else.
    """
    weight = np.ones(len(one.ts), np.float32)
    weight[_dense(one)] = one.about.period_ms / PERIOD_MS
    ways = BENCH_SITES if one.about.bench else SITES
    if one.about.decaying:
        weight *= ways[one.about.sensors][0] * len(ways)
    cool = one.about.bench & ~(one.features[:, _HOTTEST] >= HOT_C)
    for short in one.about.decaying:
        decays = (one.ts >= short.start_ts) & (one.ts < short.end_ts + AFTERMATH_MS)
        weight[decays & ~cool] *= _DECAYING_COUNT
    weight[cool & (one.label == HAZARD)] *= _COOL_COUNT
    if (fault := one.about.fault) is not None:
        sign = first_sign(fault, gas=one.about.gas, cells=one.about.cells)
        if fault.no_return_ts - sign < _SUDDEN_MS:
            weight[(one.ts >= sign) & (one.ts < sign + _FIRST_MS)] *= _FIRST_COUNT
        weight *= np.where(one.label == HAZARD, ways[one.about.sensors][0] * len(ways), 1)
    return weight


def read_rows(paths: Sequence[Path]) -> Rows:
    """All training rows of these files, as float32."""
    features, target, weight = [], [], []
    for path in sorted(paths):
        for one in read_series(path):
            features.append(one.features)
            target.append(one.label.astype(np.float32))
            weight.append(_weights(one))
    return Rows(np.concatenate(features), np.concatenate(target), np.concatenate(weight))
