"""Quix Streams: one reading at a time through a StreamingDataFrame, the window in its RocksDB state with a changelog.

https://quix.io/docs/quix-streams/processing.html, …/advanced/stateful-processing.html, …/configuration.html
"""

from typing import Any

import numpy as np
from quixstreams import Application, State, message_context

from benchmarks.peers.job import Codec, Scorer, Window, read_task


def main(file: str, guarantee: str) -> None:
    """Run until killed.

    Args:
        file: of the task.
        guarantee: `at-least-once` or `exactly-once`.
    """
    task = read_task(file)
    codec, scorer = Codec(task), Scorer(task)

    def score(value: bytes, state: State) -> bytes:
        reading = codec.decode(value)
        window = Window(task.spec, task.divisors, state.get_bytes("window"))
        window.add(reading["ts"], codec.sensors(reading))
        state.set_bytes("window", bytes(window))
        probability = float(scorer.score(np.array([window.features()]))[0])
        place = message_context()
        return codec.encode(reading, probability, len(window), place.partition, place.offset)

    settings: dict[str, Any] = {"processing_guarantee": guarantee}
    if guarantee == "exactly-once":
        settings["commit_interval"] = 1.0  # results become visible only with a commit; the default is every 5 s
    app = Application(
        broker_address=task.bootstrap,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.directory,
        loglevel="WARNING",
        **settings,
    )
    source = app.topic(task.source, key_deserializer="str", value_deserializer="bytes")
    sink = app.topic(task.sink, key_serializer="str", value_serializer="bytes")
    app.dataframe(source).apply(score, stateful=True).to_topic(sink)
    app.run()
