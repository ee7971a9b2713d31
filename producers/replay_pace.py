"""When each reading of a replay is due."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from common.arrays import Float
from common.errors import UserError
from producers.recordings.piece import Piece
from producers.recordings.recording import Recording

_CHUNK = 1000


@dataclass(frozen=True)
class Pace:
    """How fast readings are published.

    Attributes:
        speed: event time over wall time. 1 is the original pace; None publishes without pauses.
        rate: readings per second, instead of the recording's own pace.
    """

    speed: float | None = 1.0
    rate: float | None = None

    def __post_init__(self) -> None:
        if any(pace is not None and not 0 < pace < np.inf for pace in (self.speed, self.rate)):
            raise UserError("--speed and --rate must be numbers above 0; correct them")


def due_pieces(
    pieces: Iterator[Piece], pace: Pace, wait: Callable[[float], None], stop: threading.Event
) -> Iterator[Piece]:
    """Parts of pieces as they become due. A part is empty after a wait."""
    began, sent, first_ts = time.monotonic(), 0, None
    for piece in pieces:
        first_ts = int(piece.ts[0]) if first_ts is None else first_ts
        due_s = _due_s(piece, sent, first_ts, pace)
        at = 0
        while at < len(due_s) and not stop.is_set():
            now_s = time.monotonic() - began
            upto = min(at + _CHUNK, int(np.searchsorted(due_s, now_s, side="right")))
            if upto <= at:
                upto = at
                wait(min(due_s[at] - now_s, 0.5))
            yield piece.take(slice(at, upto))
            at = upto
        if stop.is_set():
            return
        sent += len(due_s)


def _due_s(piece: Piece, sent: int, first_ts: int, pace: Pace) -> Float:
    """When each reading is due, in seconds from the start of this run, in which `sent` readings came before."""
    if pace.rate is not None:
        return (sent + np.arange(len(piece.ts), dtype=np.float64)) / pace.rate
    if pace.speed is None:
        return np.zeros(len(piece.ts))
    due: Float = (piece.ts - first_ts) / 1000 / pace.speed
    return due


def require_past(recording: Recording, done: int, pace: Pace, max_future_ms: int) -> None:
    """Refuse to publish readings before their event time.

    Raises:
        UserError: with this pace, workers would reject some.
    """
    now_ms = time.time_ns() / 1_000_000
    if max(span.last_ts for span in recording.spans.values()) <= now_ms + max_future_ms:
        return
    ahead_ms, sent, first_ts = 0.0, 0, None
    for piece in recording.by_time(done):
        first_ts = int(piece.ts[0]) if first_ts is None else first_ts
        due_s = _due_s(piece, sent, first_ts, pace)
        ahead_ms = max(ahead_ms, float((piece.ts - due_s * 1000).max()) - now_ms)
        sent += len(due_s)
    if ahead_ms > max_future_ms:
        raise UserError(
            f"readings would be published up to {ahead_ms / 1000:.0f} s before their event time, which workers reject; "
            "give an earlier --start or a slower pace"
        )
