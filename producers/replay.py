"""Replays a recorded file: at the recorded speed, faster, at a fixed rate, or as fast as possible."""

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
from producers.kafka_publisher import Encoder, ReadingPublisher, encoder
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
        pipeline: pipeline file, or name of one.
        mapping: the file's columns.
        speed: event time over wall time. 1 is the original pace; None publishes without pauses.
        rate: readings per second, instead of the recording's own pace.
        skip_bad: skip bad rows. Without it, one bad row stops the replay before anything is published.
        resume: continue after the last reading that an interrupted replay delivered.
        state: file that records the progress. Default: a file in the user's state directory.
        bootstrap: Kafka brokers; None: those of the environment.
        registry: schema registry; None: values are in Avro's single-object encoding.
    """

    path: Path
    pipeline: str
    mapping: Mapping = field(default_factory=Mapping)
    speed: float | None = 1.0
    rate: float | None = None
    skip_bad: bool = False
    resume: bool = False
    state: Path | None = None
    bootstrap: str | None = None
    registry: str | None = None


@dataclass
class ReplaySummary:
    """What was published.

    Attributes:
        produced: readings that the broker confirmed in this run.
        readings: usable readings in the file.
        resumed_at: how many of them earlier runs delivered.
        skipped: how many bad rows were skipped; `skipped_rows` describes the first few.
        keys: number of distinct keys.
        completed: whether the whole file is delivered now.
        seconds: wall time; rate: readings per second.
    """

    readings: int
    resumed_at: int
    keys: int
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
) -> ReplaySummary:
    """Publish a recording in order of event time.

    Progress is saved only after the broker's confirmation, so a resumed replay loses nothing. Readings delivered after
    the last save are published again; the worker drops them as duplicates.

    Args:
        options: what to replay.
        progress: called with the number of readings sent (those of earlier runs included) and the total.
        stop: set it to end early; what was sent is still delivered.

    Raises:
        UserError: file, mapping, state, broker or registry cannot be used, or readings were not delivered.
    """
    _require_pace(options)
    pipeline = load_pipeline(options.pipeline)
    recording, saved = _open(options, pipeline)
    done = saved.delivered
    summary = ReplaySummary(
        readings=len(recording.ts),
        resumed_at=done,
        keys=len(set(recording.keys)),
        skipped=len(recording.bad),
        skipped_rows=_first_rows(recording),
    )
    stop = stop or threading.Event()
    encode = encoder(pipeline, options.registry)
    publisher = ReadingPublisher(pipeline.input.topic, options.bootstrap, stop)
    due_s = _due_s(recording, done, options)
    _require_past(recording.ts[done:], due_s, pipeline.input.max_future_ms)
    saved.save(done)
    began = time.monotonic()
    sent = done
    for rows in _due_rows(due_s, done, publisher, stop):
        for key, value in _messages(recording, encode, rows):
            publisher.send(key, value, READING)
        sent = rows.stop
        publisher.poll()
        if progress is not None:
            progress(sent, len(recording.ts))
        saved.save_now_and_then(sent, publisher)
    publisher.close()
    summary.seconds = round(time.monotonic() - began, 3)
    summary.produced = publisher.delivered[READING]
    summary.rate = round(summary.produced / summary.seconds, 1) if summary.seconds else 0.0
    if publisher.failed:
        raise UserError(
            f"the broker did not confirm {publisher.failed} readings ({publisher.last_error}); "
            "check the broker, then continue with the same command and --resume"
        )
    saved.save(sent)
    summary.completed = sent == len(recording.ts)
    return summary


class _Progress:
    """The file that records the progress of a replay.

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

    def save_now_and_then(self, sent: int, publisher: ReadingPublisher) -> None:
        """Every few seconds, save `sent`, provided that the broker confirms all of it soon."""
        if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
            if publisher.flush(_SAVE_EVERY_S):
                self.save(sent)
            self._saved_at = time.monotonic()


def _open(options: ReplayOptions, pipeline: Pipeline) -> tuple[Recording, _Progress]:
    """The recording, and the progress of earlier runs. A resumed replay reads it exactly as the first run did."""
    identity = _identity(options, pipeline)
    path = options.state or user_state_path("hazardstream") / "replay" / f"{identity[:16]}.json"
    earlier = load_state(path, identity) if options.resume else None
    mapping = options.mapping
    if earlier is not None and earlier.start_ms is not None:
        # The readings must be those of the first run.
        mapping = replace(mapping, start_ms=earlier.start_ms)
    recording = read_recording(options.path, pipeline, mapping, skip_bad=options.skip_bad)
    delivered = earlier.delivered if earlier is not None else 0
    return recording, _Progress(path, ReplayState(replay=identity, delivered=delivered, start_ms=recording.start_ms))


def _due_rows(
    due_s: NDArray[np.float64], done: int, publisher: ReadingPublisher, stop: threading.Event
) -> Iterator[slice]:
    """Slices of rows as they become due, after the first `done`. A slice is empty after a wait."""
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
    """When each remaining reading is due, in seconds from now."""
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
            f"readings would be published up to {ahead_ms / 1000:.0f} s before their event time, which workers reject; "
            "give an earlier --start or a slower pace"
        )


def _first_rows(recording: Recording) -> list[str]:
    return [f"{recording.unit} {row.place} {row.column}: {row.value!r}: {row.rule}" for row in recording.bad[:SHOWN]]


def _require_pace(options: ReplayOptions) -> None:
    if any(pace is not None and not 0 < pace < np.inf for pace in (options.speed, options.rate)):
        raise UserError("--speed and --rate must be numbers above 0; correct them")


def _identity(options: ReplayOptions, pipeline: Pipeline) -> str:
    """Digest of everything that decides which readings are published, in which order and where to."""
    if not options.path.is_file():
        raise UserError(f"there is no file {options.path}; check the path")
    with options.path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    read = [content, asdict(options.mapping), options.skip_bad, pipeline.topology.model_dump()]
    target = [pipeline.input.topic, options.bootstrap, str(options.path.resolve())]
    return hashlib.sha256(json.dumps([read, target], sort_keys=True).encode()).hexdigest()
