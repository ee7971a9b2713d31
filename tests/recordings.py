"""Recordings as tests read them: whole, in order of time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from producers.recordings.bad_rows import BadRow
from producers.recordings.mapping import Mapping
from producers.recordings.recording import open_recording
from producers.recordings.understanding import understanding
from tests.flagship import PIPELINE
from worker.config.pipeline import Pipeline


@dataclass
class Read:
    """The readings of a recording, oldest first."""

    names: list[tuple[str, str]]
    key: Any
    ts: Any
    values: Any
    sensors: tuple[str, ...]
    bad: list[BadRow]
    understood: dict[str, Any]

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.names]

    @property
    def groups(self) -> list[str]:
        return [group for _, group in self.names]

    def column(self, sensor: str) -> Any:
        if sensor not in self.sensors:
            return np.full(len(self.ts), np.nan)
        return self.values[:, self.sensors.index(sensor)]


def read_recording(
    *paths: Path,
    mapping: Mapping | None = None,
    pipeline: Pipeline = PIPELINE,
    skip_bad: bool = False,
    ends_now: bool = True,
    every_ms: int | None = None,
) -> Read:
    mapping = mapping or Mapping()
    with open_recording(paths, pipeline, mapping, ends_now=ends_now) as recording:
        if not skip_bad:
            recording.loaded.require_good()
        if every_ms:
            recording.thin(every_ms)
        pieces = list(recording.by_time())
        return Read(
            recording.names,
            np.concatenate([piece.key for piece in pieces]),
            np.concatenate([piece.ts for piece in pieces]),
            np.concatenate([piece.values for piece in pieces]),
            recording.sensors,
            [*recording.loaded.bad, *recording.loaded.not_number_rows],
            understanding(recording, pipeline, mapping),
        )


def text_file(folder: Path, *lines: str, name: str = "file.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path
