"""Bytewax: a dataflow with a stateful map by module, which scores the dataflow's own batches, with recovery.

https://docs.bytewax.io/stable/guide/ (stateful operators, Kafka connector, recovery)
"""

from pathlib import Path
from typing import Any

import numpy as np
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.peers.job import Codec, Scorer, Window, read_task


def main(file: str) -> None:
    """Run until killed."""
    task = read_task(file)
    codec, scorer = Codec(task), Scorer(task)

    def decoded(message: Any) -> tuple[str, tuple[Any, ...]]:
        reading = codec.decode(message.value)
        return reading["module_id"], (reading, message.partition, message.offset)

    def windowed(window: Window | None, came: tuple[Any, ...]) -> tuple[Window, tuple[Any, ...]]:
        window = window or Window(task.spec, task.divisors)
        reading, *place = came
        window.add(reading["ts"], codec.sensors(reading))
        return window, (reading, window.features(), len(window), *place)

    def scored(batch: list[tuple[str, tuple[Any, ...]]]) -> list[KafkaSinkMessage[bytes, bytes]]:
        probabilities = scorer.score(np.array([features for _, (_, features, *_) in batch])).tolist()
        return [
            KafkaSinkMessage(module.encode(), codec.encode(reading, probability, *rest))
            for (module, (reading, _, *rest)), probability in zip(batch, probabilities, strict=True)
        ]

    flow = Dataflow(task.group)
    readings = kop.input("in", flow, brokers=[task.bootstrap], topics=[task.source], batch_size=1000)
    keyed = op.map("decode", readings.oks, decoded)
    windows = op.stateful_map("window", keyed, windowed)
    predictions = op.flat_map_batch("score", windows, scored)
    kop.output("out", predictions, brokers=[task.bootstrap], topic=task.sink)

    recovery = Path(task.directory, "recovery")
    recovery.mkdir()
    init_db_dir(recovery, 1)
    cli_main(flow, recovery_config=RecoveryConfig(str(recovery)))
