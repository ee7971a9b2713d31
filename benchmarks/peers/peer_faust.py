"""Faust (faust-streaming): an agent, event by event with its windows in a table, or in batches with `take`.

https://faust-streaming.github.io/faust/userguide/agents.html, …/tables.html, …/streams.html#take-buffer-up-to-n-values
"""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import faust
import numpy as np

from benchmarks.peers.job import Codec, Scorer, Task, Window, read_task

BATCH, WITHIN_S = 1000, 0.1


def main(file: str, style: str) -> None:
    """Run until killed.

    Args:
        file: of the task.
        style: `table` or `take`. Under `take` the windows are in the agent's memory: a table's changes would go to
            the partition of the batch's last event.
    """
    task = read_task(file)
    app = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap}",
        consumer_auto_offset_reset="earliest",
        topic_partitions=4,
        topic_disable_leader=True,
        store="memory://",
        datadir=Path(task.directory),
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
    )
    source = app.topic(task.source, key_type=bytes, value_type=bytes)
    sink = app.topic(task.sink, key_type=bytes, value_type=bytes)

    {"table": _agent_with_table, "take": _agent_with_take}[style](app, source, sink, task)
    app.finalize()
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


def _agent_with_table(app: faust.App, source: Any, sink: Any, task: Task) -> None:
    codec, scorer = Codec(task), Scorer(task)
    windows = app.Table("windows", default=bytes, partitions=4)

    @app.agent(source)
    async def score(stream: Any) -> None:
        async for event in stream.events():
            reading = codec.decode(event.value)
            window = Window(task.spec, task.divisors, windows[event.key])
            window.add(reading["ts"], codec.sensors(reading))
            windows[event.key] = bytes(window)
            probability = float(scorer.score(np.array([window.features()]))[0])
            place = event.message
            value = codec.encode(reading, probability, len(window), place.partition, place.offset)
            await sink.send(key=event.key, value=value)


def _agent_with_take(app: faust.App, source: Any, sink: Any, task: Task) -> None:
    codec, scorer = Codec(task), Scorer(task)
    windows: dict[str, Window] = defaultdict(partial(Window, task.spec, task.divisors))

    @app.agent(source)
    async def score(stream: Any) -> None:
        async for events in stream.take_events(BATCH, within=WITHIN_S):
            readings, features, lengths = [codec.decode(event.value) for event in events], [], []
            for reading in readings:
                window = windows[reading["module_id"]]
                window.add(reading["ts"], codec.sensors(reading))
                features.append(window.features())
                lengths.append(len(window))
            probabilities = scorer.score(np.array(features)).tolist()
            for event, reading, probability, length in zip(events, readings, probabilities, lengths, strict=True):
                place = event.message
                value = codec.encode(reading, probability, length, place.partition, place.offset)
                sink.send_soon(key=event.key, value=value)
