"""Replays a recorded file: at the recorded speed, faster, at a fixed rate, or as fast as possible."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_state_path

from common.errors import UserError
from producers.kafka_publisher import Encoder, ReadingPublisher, encoder
from producers.recordings.bad_rows import SHOWN, BadRow
from producers.recordings.files import files_in
from producers.recordings.mapping import Mapping
from producers.recordings.piece import Piece
from producers.recordings.recording import Recording, open_recording
from producers.recordings.understanding import understanding
from producers.replay_pace import Pace, due_pieces, require_past
from producers.replay_progress import ReplayState, load_state, save_state
from worker.config.pipeline import Pipeline, load_pipeline

READING = "reading"
_SAVE_EVERY_S = 2.0


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay, how fast, and where to.

    Attributes:
        paths: files, directories of files, or patterns.
        pipeline: pipeline file, or name of one.
        mapping: what the user says about the files.
        pace: how fast.
        every_ms: keep one reading per period; None keeps all.
        skip_bad: skip bad rows. Without it, one bad row stops the replay before anything is published.
        resume: continue after the last reading that an interrupted replay delivered.
        state: file that records the progress. Default: a file in the user's state directory.
        bootstrap: Kafka brokers; None: those of the environment.
        registry: schema registry; None: values are in Avro's single-object encoding.
    """

    paths: Sequence[Path]
    pipeline: str
    mapping: Mapping = field(default_factory=Mapping)
    pace: Pace = field(default_factory=Pace)
    every_ms: int | None = None
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
        readings: usable readings in the files.
        resumed_at: how many of them earlier runs delivered.
        skipped: how many bad rows were skipped; `skipped_rows` describes the first few.
        keys: number of distinct keys.
        understood: how the files were read (see `understanding`).
        completed: whether all is delivered now.
        seconds: wall time; rate: readings per second.
    """

    readings: int
    resumed_at: int
    keys: int
    skipped: int
    skipped_rows: list[str]
    understood: dict[str, Any]
    produced: int = 0
    completed: bool = False
    seconds: float = 0.0
    rate: float = 0.0


Tell = Callable[[dict[str, Any]], None]


def dry_run(options: ReplayOptions) -> dict[str, Any]:
    """How the files would be understood; nothing is published, and no broker is asked.

    Raises:
        UserError: a file or the mapping cannot be used.
    """
    pipeline = load_pipeline(options.pipeline)
    with open_recording(options.paths, pipeline, options.mapping, ends_now=True) as recording:
        return understanding(recording, pipeline, options.mapping)


def replay(
    options: ReplayOptions,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
    tell: Tell = lambda _understood: None,
) -> ReplaySummary:
    """Publish a recording in order of event time.

    The broker is asked before the files are read. Progress is saved only after its confirmation, so a resumed replay
    loses nothing. Readings delivered after the last save are published again; the worker drops them as duplicates.

    Args:
        options: what to replay.
        progress: called with the number of readings sent (those of earlier runs included) and the total.
        stop: set it to end early; what was sent is still delivered.
        tell: called with how the files were understood, before anything is published.

    Raises:
        UserError: files, mapping, state, broker or registry cannot be used, or readings were not delivered.
    """
    pipeline = load_pipeline(options.pipeline)
    stop = stop or threading.Event()
    encode = encoder(pipeline, options.registry)
    publisher = ReadingPublisher(pipeline.input.topic, options.bootstrap, stop)
    identity = _identity(options, pipeline)
    earlier, mapping = _earlier(options, identity)
    with open_recording(options.paths, pipeline, mapping, ends_now=True) as recording:
        if options.every_ms:
            recording.thin(options.every_ms)
        understood = understanding(recording, pipeline, mapping)
        tell(understood)
        if not options.skip_bad:
            recording.loaded.require_good()
        start_ms = recording.origin_ms if recording.relative else mapping.start_ms
        saved = _Progress(
            _state_file(options, identity), ReplayState(replay=identity, delivered=earlier, start_ms=start_ms)
        )
        summary = ReplaySummary(
            readings=len(recording),
            resumed_at=earlier,
            keys=len(recording.names),
            skipped=sum(recording.loaded.left_out.values()),
            skipped_rows=[_told(recording, row) for row in recording.loaded.bad[:SHOWN]],
            understood=understood,
        )
        return _publish(recording, summary, options, pipeline, (encode, publisher), saved, progress, stop)


def _publish(
    recording: Recording,
    summary: ReplaySummary,
    options: ReplayOptions,
    pipeline: Pipeline,
    target: tuple[Encoder, ReadingPublisher],
    saved: "_Progress",
    progress: Callable[[int, int], None] | None,
    stop: threading.Event,
) -> ReplaySummary:
    (encode, publisher), done = target, summary.resumed_at
    require_past(recording, done, options.pace, pipeline.input.max_future_ms)
    saved.save(done)
    began = time.monotonic()
    sent = done
    at = [pipeline.input.sensors().index(sensor) for sensor in recording.sensors]
    for piece in due_pieces(recording.by_time(done), options.pace, publisher.wait, stop):
        for key, value in _messages(recording, encode, piece, at, len(pipeline.input.sensors())):
            publisher.send(key, value, READING)
        sent += len(piece.key)
        publisher.poll()
        if progress is not None:
            progress(sent, len(recording))
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
    summary.completed = sent == len(recording)
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


def _state_file(options: ReplayOptions, identity: str) -> Path:
    return options.state or user_state_path("hazardstream") / "replay" / f"{identity[:16]}.json"


def _earlier(options: ReplayOptions, identity: str) -> tuple[int, Mapping]:
    """How many readings earlier runs delivered, and the mapping, with the start that they used."""
    earlier = load_state(_state_file(options, identity), identity) if options.resume else None
    if earlier is None:
        return 0, options.mapping
    start_ms = options.mapping.start_ms if earlier.start_ms is None else earlier.start_ms
    return earlier.delivered, replace(options.mapping, start_ms=start_ms)


def _told(recording: Recording, row: BadRow) -> str:
    several = len(recording.loaded.tables) > 1
    return (f"{recording.loaded.tables[row.file].path.name} " if several else "") + str(row)


def _messages(
    recording: Recording, encode: Encoder, piece: Piece, at: list[int], sensors: int
) -> Iterator[tuple[str, bytes]]:
    values = np.full((len(piece.key), sensors), None, object)
    measured_values = piece.values.astype(object)
    measured_values[np.isnan(piece.values)] = None
    values[:, at] = measured_values
    for code, ts_ms, measured in zip(piece.key.tolist(), piece.ts.tolist(), values.tolist(), strict=True):
        key, group = recording.names[code]
        yield key, encode(key, group, ts_ms, measured)


def _identity(options: ReplayOptions, pipeline: Pipeline) -> str:
    """Digest of everything that decides which readings are published, in which order and where to."""
    contents = []
    for path in files_in(options.paths):
        with path.open("rb") as file:
            contents.append(hashlib.file_digest(file, "sha256").hexdigest())
    read = [contents, asdict(options.mapping), options.every_ms, options.skip_bad, pipeline.topology.model_dump()]
    target = [pipeline.input.topic, options.bootstrap, [str(path.resolve()) for path in options.paths]]
    return hashlib.sha256(json.dumps([read, target], sort_keys=True).encode()).hexdigest()
