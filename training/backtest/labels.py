"""Events of a recording, from a label column or as given."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.errors import UserError
from producers.recordings.files import is_table
from producers.recordings.piece import Piece
from producers.recordings.recording import Recording
from producers.recordings.series import RELATIVE_START_MS
from producers.recordings.small_table import SmallTimes, read_small_table, times_of
from training.evaluation.labelled_event import LabelledEvent
from worker.config.inputs_outputs import Input

_SAME_EVENT_MS = 600_000


def labelled_events(pieces: Iterable[Piece], last_ts: dict[int, int]) -> list[LabelledEvent]:
    """One event for each stretch of readings labelled 1; it ends when the label is 0 again, or with the recording.

    Stretches less than ten minutes apart are one event, because a label made by a limit flickers around it.
    """
    events: list[LabelledEvent] = []
    began: dict[int, int] = {}
    for piece in pieces:
        change = np.flatnonzero(np.diff(piece.label, prepend=False) | (np.diff(piece.key, prepend=-1) != 0))
        for row in change.tolist():
            key, ts, label = int(piece.key[row]), int(piece.ts[row]), bool(piece.label[row])
            if label and key not in began:
                began[key] = ts
            elif not label and key in began:
                events.append(LabelledEvent(key, began.pop(key), ts))
    events += [LabelledEvent(key, ts, last_ts[key] + 1) for key, ts in began.items()]
    joined: list[LabelledEvent] = []
    for event in sorted(events, key=lambda e: (e.key, e.ts)):
        before = joined[-1] if joined else None
        if before is not None and before.key == event.key and event.ts - before.end_ts < _SAME_EVENT_MS:
            joined[-1] = replace(before, end_ts=event.end_ts)
        else:
            joined.append(event)
    return joined


def given_events(text: str, recorded: Recording, source: Input) -> list[LabelledEvent]:
    """Events from a file (columns key and time), or from `KEY=TIME,…`; just `TIME` for a recording of one key.

    Times have the format of the recording, or are seconds from the key's first reading. An event ends with the
    recording of its key.

    Raises:
        UserError: text or file cannot be read, or the recording lacks the key or the time of an event.
    """
    path = Path(text)
    pairs = _from_file(path, source) if is_table(path) or path.is_file() else _from_text(text, recorded)
    numbers: dict[str, int] = {key: number for number, (key, _) in enumerate(recorded.names)}
    times = _times([time for _, time in pairs], recorded)
    events: list[LabelledEvent] = []
    for (key, written), at in zip(pairs, times.ms, strict=True):
        if at is None:
            raise UserError(_no_time(written, recorded))
        if key not in numbers:
            few = ", ".join(sorted(numbers)[:10])
            raise UserError(f"--events: {key!r} is not in the recording; its keys are {few}")
        span = recorded.spans[numbers[key]]
        ts = round(at) + _origin(times, recorded, span.first_ts)
        if not span.first_ts <= ts <= span.last_ts:
            seconds = (span.last_ts - span.first_ts) / 1000
            raise UserError(
                f"--events: {key}={written} is outside the recording of that key, which lasts {seconds:g} s; "
                f"write times as in the recording ({recorded.times})"
            )
        events.append(LabelledEvent(numbers[key], ts, span.last_ts + 1))
    return sorted(events, key=lambda e: (e.key, e.ts))


def _times(texts: list[str], recorded: Recording) -> SmallTimes:
    try:
        return times_of(texts, "--events")
    except UserError as error:
        raise UserError(f"{_no_time(texts[0], recorded)} ({error})") from error


def _no_time(text: str, recorded: Recording) -> str:
    return f"--events: {text!r} is not a time; write it as in the recording ({recorded.times})"


def _origin(times: SmallTimes, recorded: Recording, first_ts: int) -> int:
    if not times.relative:
        return 0
    return RELATIVE_START_MS if recorded.relative else first_ts


def _from_file(path: Path, source: Input) -> list[tuple[str, str]]:
    table = read_small_table(path)
    names = table.names
    key = next((n for n in names if n in (source.key, "key")), names[0])
    time = next((n for n in names if n in (source.time, "time", "t_s", "timestamp")), names[min(1, len(names) - 1)])
    if key == time:
        raise UserError(f"--events: {path} needs a column with the key and one with the time of its event")
    for place, rule in table.broken:
        raise UserError(f"--events: {path}, {table.unit} {place}: {rule}; correct the row")
    return list(zip(table.rows[key], table.rows[time], strict=True))


def _from_text(text: str, recorded: Recording) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        key, equals, time = (piece.strip() for piece in part.rpartition("="))
        if not equals and len(recorded.names) > 1:
            raise UserError(f"--events: {part!r} names no key; write KEY=TIME,… or name a file with both columns")
        pairs.append((key if equals else recorded.names[0][0], time))
    return pairs
