"""A separate process that sends readings at a steady rate, each at its due time, whatever happens to the others.

Example:
    python -m benchmarks.latency_source 127.0.0.1:9092 battery.readings 1000 1780000000000 0 1000:12 times.json
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.readings import Readings, Source, in_chunks

_TICK_S = 0.001
_HEAD_START_NS = 100_000_000
_BETWEEN_S = 1.0


def send_on_time(source: Source, numbers: range, rate: int) -> dict[str, int | float]:
    """Send readings `1 / rate` s apart.

    If the sender falls behind, it catches up. The due times do not change.

    Args:
        source: sends the readings.
        numbers: of the readings.
        rate: readings per second.

    Returns:
        rate; first: number of the first reading; count; start_ns: when the first was due, by the monotonic clock, which
        is the same in all processes; late_ms: 99th percentile of the delay from due time to sending.
    """
    messages = [message for some in in_chunks(numbers) for message in source.prepared(some)]
    start_ns = time.monotonic_ns() + _HEAD_START_NS
    sent, late_ns = 0, []
    while sent < len(messages):
        now_ns = time.monotonic_ns()
        due = min(int((now_ns - start_ns) * rate / 1e9) + 1, len(messages)) if now_ns >= start_ns else 0
        if due > sent:
            source.send(messages[sent:due])
            late_ns.append(time.monotonic_ns() - start_ns - sent * 1e9 / rate)
            sent = due
        time.sleep(_TICK_S)
    source.flush()
    return {
        "rate": rate,
        "first": numbers.start,
        "count": len(numbers),
        "start_ns": start_ns,
        "late_ms": round(float(np.percentile(late_ns, 99)) / 1e6, 2),
    }


def main(bootstrap: str, topic: str, modules: str, start_ms: str, first: str, *phases_and_file: str) -> None:
    """Send one phase after the other, each `RATE:SECONDS`, and write their times.

    Args:
        bootstrap: broker addresses.
        topic: to send to.
        modules: see `Readings`.
        start_ms: see `Readings`.
        first: number of the first reading.
        phases_and_file: phases, and the file for a JSON list of the results of `send_on_time`.
    """
    *phases, file = phases_and_file
    source = Source(Readings(int(modules), int(start_ms)), topic, bootstrap)
    at, done = int(first), []
    for rate, seconds in (map(int, phase.split(":")) for phase in phases):
        done.append(send_on_time(source, range(at, at + rate * seconds), rate))
        at += rate * seconds
        time.sleep(_BETWEEN_S)
    Path(file).write_text(json.dumps(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
