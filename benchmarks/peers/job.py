"""The job that every peer does with a reading, as a user would write it: decode, window, score, encode.

It runs in the peers' environments, so it needs only fastavro, NumPy and XGBoost. The window is plain Python, which for
one reading at a time is faster (26 µs) than NumPy: on 60 numbers, NumPy's calls cost more than they save.
"""

import json
import math
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}


@dataclass(frozen=True)
class Task:
    """The parameters of a peer, from a JSON file.

    Attributes:
        bootstrap: broker addresses.
        source: topic of the readings.
        sink: topic for the predictions.
        group: consumer group, and name of the application.
        directory: scratch directory of this peer.
        booster: XGBoost model file.
        mean: of each feature, as the model's scaler has it.
        scale: of each feature, likewise.
        divisors: of each sensor, which give volts per cell and C-rate.
        spec: the model package's feature definition (`FeatureSpec`).
        threshold: probabilities at or above it are hazardous.
        reading_schema: Avro schema of the readings.
        prediction_schema: Avro schema of the predictions.
        reading_prefix: bytes before each reading, in hex.
        prediction_prefix: bytes before each prediction, in hex.
        jars: directory of the peer's connector jars; empty if it needs none.
        port: loopback port for a peer that serves HTTP.
    """

    bootstrap: str
    source: str
    sink: str
    group: str
    directory: str
    booster: str
    mean: list[float]
    scale: list[float]
    divisors: list[float]
    spec: dict[str, Any]
    threshold: float
    reading_schema: dict[str, Any]
    prediction_schema: dict[str, Any]
    reading_prefix: str
    prediction_prefix: str
    jars: str
    port: int

    def write(self, file: Path) -> None:
        """Write the file for `read_task`."""
        file.write_text(json.dumps(asdict(self)))


def read_task(file: str) -> Task:
    """Read the file of `Task.write`."""
    return Task(**json.loads(Path(file).read_text()))


class Scorer:
    """The model: features in, probabilities out."""

    def __init__(self, task: Task) -> None:
        self._booster = xgboost.Booster(model_file=task.booster)
        self._booster.set_param({"nthread": 1})
        self._mean, self._scale = np.array(task.mean), np.array(task.scale)

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probability of each row of features [n, f], shape [n]."""
        return np.asarray(self._booster.inplace_predict((features - self._mean) / self._scale, missing=np.nan))


class Window:
    """The last readings of a module in one flat array: for each, event time in ms and the sensors, NaN if missing.

    A peer with a state store keeps its bytes.
    """

    def __init__(self, spec: dict[str, Any], divisors: list[float], kept: bytes | None = None) -> None:
        self._spec, self._divisors = spec, divisors
        self._width = 1 + len(divisors)
        self._numbers = array("d", kept or b"")

    def __bytes__(self) -> bytes:
        return self._numbers.tobytes()

    def __len__(self) -> int:
        return len(self._numbers) // self._width

    def add(self, ts_ms: int, sensors: Sequence[float | None]) -> None:
        """Add a reading, and drop those that are too old or too many."""
        numbers, width, spec = self._numbers, self._width, self._spec
        numbers.append(ts_ms)
        numbers.extend(
            [math.nan if v is None else v / divisor for v, divisor in zip(sensors, self._divisors, strict=True)]
        )
        del numbers[: -spec["windows"][-1] * width]
        while numbers[0] <= ts_ms - spec["max_span_ms"]:
            del numbers[:width]

    def features(self) -> list[float]:
        """Features of the newest reading, in the order of the model's columns."""
        spec, columns = self._spec, {}
        for place, name in enumerate(spec["sensors"], start=1):
            columns[name] = self._numbers[place :: self._width].tolist()
        now = [_last_known(column) for column in columns.values()]
        before = {name: _last_known(columns[name][:-1]) for name in spec["differences"]}
        change = [now[spec["sensors"].index(name)] - value for name, value in before.items()]
        return now + change + [n for name in spec["rolling"] for n in _rolled(columns[name], spec["windows"])]


def _last_known(column: list[float]) -> float:
    return next((value for value in reversed(column) if value == value), math.nan)  # noqa: PLR0124 - only NaN differs from itself


def _rolled(column: list[float], windows: list[int]) -> list[float]:
    found = []
    for length in windows:
        known = [value for value in column[-length:] if value == value]  # noqa: PLR0124 - only NaN differs from itself
        count = len(known)
        mean = sum(known) / count if count else math.nan
        squares = sum([(value - mean) ** 2 for value in known])
        found += [mean, math.sqrt(squares / (count - 1)) if count > 1 else math.nan]
    return found


class Codec:
    """Reads and writes Avro in single-object encoding with fastavro."""

    def __init__(self, task: Task) -> None:
        import fastavro  # noqa: PLC0415 - a peer without Avro has no fastavro

        self._read, self._write = fastavro.schemaless_reader, fastavro.schemaless_writer
        self._reading = fastavro.parse_schema(_plain_times(task.reading_schema))
        self._prediction = fastavro.parse_schema(_plain_times(task.prediction_schema))
        self._skip, self._prefix = len(task.reading_prefix) // 2, bytes.fromhex(task.prediction_prefix)
        self._sensors, self._threshold = task.spec["sensors"], task.threshold

    def decode(self, value: bytes) -> dict[str, Any]:
        """One reading."""
        body = BytesIO(value)
        body.seek(self._skip)
        reading: dict[str, Any] = self._read(body, self._reading, None)
        return reading

    def sensors(self, reading: dict[str, Any]) -> list[float | None]:
        """The sensor values of a reading, in the order of the features."""
        return [reading[name] for name in self._sensors]

    def encode(
        self, reading: dict[str, Any], probability: float, length: int, partition: int = -1, offset: int = -1
    ) -> bytes:
        """One prediction. Partition and offset are -1 if the peer does not give them."""
        out = BytesIO()
        out.write(self._prefix)
        prediction = {
            "module_id": reading["module_id"],
            "rack_id": reading["rack_id"],
            "ts": reading["ts"],
            "hazard_probability": probability,
            "hazardous": probability >= self._threshold,
            "threshold": self._threshold,
            "model_name": "benchmark",
            "model_version": "1",
            "readings_in_window": length,
            "imputed": [name for name in self._sensors if reading[name] is None],
            "masked": [],
            "source_partition": partition,
            "source_offset": offset,
            "scored_at": time.time_ns() // 1_000_000,
        }
        self._write(out, self._prediction, prediction)
        return out.getvalue()


def _plain_times(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with event times as plain milliseconds: the same bytes, without conversion to datetime."""
    fields = [field | ({"type": "long"} if field["type"] == TIMESTAMP else {}) for field in schema["fields"]]
    return schema | {"fields": fields}
