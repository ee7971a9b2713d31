"""A recorded file published again: at its own pace, faster, at a fixed rate, or as fast as possible."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_state_path

from common.errors import UserError
from producers.kafka_publisher import Encoder, Publisher, encoder
from producers.recordings.mapping import Mapping
from producers.recordings.recording import SHOWN, Recording, read_recording
from producers.replay_progress import ReplayState, load_state, save_state
from worker.config.pipeline import Pipeline, load_pipeline

READING = "reading"
_CHUNK = 1000
_SAVE_EVERY_S = 2.0


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, how fast, and where to.

    Attributes:
        mapping: the file's columns.
        speed: event time over wall time; 1 is the original pace, None no pace at all.
        rate: readings a second instead of the recording's own pace.
        skip_bad: leave bad rows out instead of stopping before anything is published.
        resume: go on after the last reading that an interrupted replay saw delivered.
        state: where that is remembered; by default a file in the user's state directory.
    """

    path: Path
    pipeline: str = "battery_hazard"
    mapping: Mapping = field(default_factory=Mapping)
    speed: float | None = 1.0
    rate: float | None = None
    skip_bad: bool = False
    resume: bool = False
    state: Path | None = None
    bootstrap: str | None = None
    registry: str | None = None


@dataclass
class Summary:
    """What was published.

    Attributes:
        produced: readings that the broker confirmed in this run.
        readings: usable readings in the file.
        resumed_at: how many of them earlier runs had delivered.
        skipped: bad rows left out, `skipped_rows` the first few in words.
        modules: distinct keys.
        completed: whether the whole file is now delivered.
        seconds: wall time; rate: produced readings a second.
    """

    readings: int
    resumed_at: int
    modules: int
    skipped: int
    skipped_rows: list[str]
    produced: int = 0
    completed: bool = False
    seconds: float = 0.0
    rate: float = 0.0


def replay(
    options: ReplayOptions,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Summary:
    """Publish a recording in event-time order.

    How far it got is written down after the broker's confirmation, so a resumed replay loses nothing; readings
    delivered after the last such note are published again, and dropped by the worker as duplicates.

    Args:
        options: what to replay.
        progress: called with readings handed over (earlier runs' included) and readings in all.
        stop: set it to end early, delivering what was handed over.

    Returns:
        The counts.

    Raises:
        UserError: file, mapping, state, broker or registry cannot be used, or readings stayed undelivered.
    """
    _require_pace(options)
    pipeline = load_pipeline(options.pipeline)
    recording, note = _open(options, pipeline)
    done = note.delivered
    summary = Summary(
        readings=len(recording.ts),
        resumed_at=done,
        modules=len(set(recording.keys)),
        skipped=len(recording.bad),
        skipped_rows=_first_rows(recording),
    )
    stop = stop or threading.Event()
    encode = encoder(pipeline, options.registry)
    publisher = Publisher(pipeline.input.topic, options.bootstrap, stop)
    due_s = _due_s(recording, done, options)
    _require_past(recording.ts[done:], due_s, pipeline.input.max_future_ms)
    note.save(done)
    began = time.monotonic()
    sent = done
    for rows in _due_rows(due_s, done, publisher, stop):
        for key, value in _messages(recording, encode, rows):
            publisher.send(key, value, READING)
        sent = rows.stop
        publisher.poll()
        if progress is not None:
            progress(sent, len(recording.ts))
        note.save_at_times(sent, publisher)
    publisher.close()
    summary.seconds = round(time.monotonic() - began, 3)
    summary.produced = publisher.delivered[READING]
    summary.rate = round(summary.produced / summary.seconds, 1) if summary.seconds else 0.0
    if publisher.failed:
        raise UserError(
            f"{publisher.failed} readings were never confirmed by the broker ({publisher.last_error}); "
            "look at the broker, then go on with the same command and --resume"
        )
    note.save(sent)
    summary.completed = sent == len(recording.ts)
    return summary


class _Note:
    """The file that keeps how far a replay got.

    Attributes:
        delivered: readings that earlier runs delivered.
    """

    def __init__(self, path: Path, state: ReplayState) -> None:
        self.delivered = state.delivered
        self._path, self._state = path, state
        self._saved_at = time.monotonic()

    def save(self, delivered: int) -> None:
        save_state(self._path, self._state.model_copy(update={"delivered": delivered}))
        self._saved_at = time.monotonic()

    def save_at_times(self, sent: int, publisher: Publisher) -> None:
        """Every few seconds, save what was sent, if the broker confirms all of it soon."""
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            if publisher.flush(_SAVE_EVERY_S):
                self.save(sent)
            self._saved_at = time.monotonic()


def _open(options: ReplayOptions, pipeline: Pipeline) -> tuple[Recording, _Note]:
    """The recording, read as the first time if the replay is resumed, and the note on how far earlier runs got."""
    identity = _identity(options, pipeline)
    path = options.state or user_state_path("hazardstream") / "replay" / f"{identity[:16]}.json"
    earlier = load_state(path, identity) if options.resume else None
    mapping = options.mapping
    if earlier is not None and earlier.start_ms is not None:
        # The same readings must come out as the first time.
        mapping = replace(mapping, start_ms=earlier.start_ms)
    recording = read_recording(options.path, pipeline, mapping, skip_bad=options.skip_bad)
    delivered = earlier.delivered if earlier is not None else 0
    return recording, _Note(path, ReplayState(replay=identity, delivered=delivered, start_ms=recording.start_ms))


def _due_rows(due_s: NDArray[np.float64], done: int, publisher: Publisher, stop: threading.Event) -> Iterator[slice]:
    """Rows of the recording as they fall due, after the first `done`; no rows where it waited instead."""
    began = time.monotonic()
    sent = 0
    while sent < len(due_s) and not stop.is_set():
        now_s = time.monotonic() - began
        upto = min(sent + _CHUNK, int(np.searchsorted(due_s, now_s, side="right")))
        if upto <= sent:
            upto = sent
            publisher.wait(min(due_s[sent] - now_s, 0.5))
        yield slice(done + sent, done + upto)
        sent = upto


def _messages(recording: Recording, encode: Encoder, rows: slice) -> Iterator[tuple[str, bytes]]:
    values = recording.values[rows].astype(object)
    values[np.isnan(recording.values[rows])] = None
    codes, times = recording.key[rows].tolist(), recording.ts[rows].tolist()
    for code, ts_ms, measured in zip(codes, times, values.tolist(), strict=True):
        key = recording.keys[code]
        yield key, encode(key, recording.groups[code], ts_ms, measured)


def _due_s(recording: Recording, done: int, options: ReplayOptions) -> NDArray[np.float64]:
    """When each remaining reading is due, seconds from now."""
    left = recording.ts[done:]
    if options.rate is not None:
        return np.arange(len(left), dtype=np.float64) / options.rate
    if options.speed is None or not len(left):
        return np.zeros(len(left))
    due: NDArray[np.float64] = (left - left[0]) / 1000 / options.speed
    return due


def _require_past(ts: NDArray[np.int64], due_s: NDArray[np.float64], max_future_ms: int) -> None:
    ahead_ms = float((ts - due_s * 1000).max(initial=0)) - time.time_ns() / 1_000_000
    if ahead_ms > max_future_ms:
        raise UserError(
            f"readings would be published up to {ahead_ms / 1000:.0f} s before their event time, which workers refuse; "
            "give an earlier --start or a slower pace"
        )


def _first_rows(recording: Recording) -> list[str]:
    return [f"{recording.unit} {row.place} {row.column}: {row.value!r}: {row.rule}" for row in recording.bad[:SHOWN]]


def _require_pace(options: ReplayOptions) -> None:
    if any(pace is not None and not 0 < pace < np.inf for pace in (options.speed, options.rate)):
        raise UserError("--speed and --rate must be numbers above 0; correct them")


def _identity(options: ReplayOptions, pipeline: Pipeline) -> str:
    """Digest of all that decides which readings come in which order, and where they go."""
    if not options.path.is_file():
        raise UserError(f"there is no file {options.path}; check the path")
    with options.path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    read = [content, asdict(options.mapping), options.skip_bad, pipeline.topology.model_dump()]
    target = [pipeline.input.topic, options.bootstrap, str(options.path.resolve())]
    return hashlib.sha256(json.dumps([read, target], sort_keys=True).encode()).hexdigest()
