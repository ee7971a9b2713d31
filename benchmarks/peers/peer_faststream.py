"""FastStream on confluent-kafka: a batch subscriber with a custom decoder, and `publish_batch`.

https://faststream.ag2.ai/latest/confluent/Consumer/batch/, …/Publisher/batch/, …/getting-started/serialization/decoder/
"""

import asyncio
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
from faststream import FastStream
from faststream.confluent import KafkaBroker, KafkaResponse

from benchmarks.peers.job import Codec, Scorer, Window, read_task

BATCH = 1000


def main(file: str) -> None:
    """Run until killed."""
    task = read_task(file)
    codec, scorer = Codec(task), Scorer(task)
    windows: dict[str, Window] = defaultdict(partial(Window, task.spec, task.divisors))
    broker = KafkaBroker(task.bootstrap, apply_types=False, logger=None)

    async def decode(message: Any) -> list[tuple[dict[str, Any], int, int]]:
        return [(codec.decode(raw.value()), raw.partition(), raw.offset()) for raw in message.raw_message]

    @broker.subscriber(
        task.source, group_id=task.group, auto_offset_reset="earliest", batch=True, max_records=BATCH, decoder=decode
    )
    async def score(decoded: list[tuple[dict[str, Any], int, int]]) -> None:
        features, lengths = [], []
        for reading, _, _ in decoded:
            window = windows[reading["module_id"]]
            window.add(reading["ts"], codec.sensors(reading))
            features.append(window.features())
            lengths.append(len(window))
        probabilities = scorer.score(np.array(features)).tolist()
        predictions = [
            KafkaResponse(codec.encode(reading, probability, length, *place), key=reading["module_id"].encode())
            for (reading, *place), probability, length in zip(decoded, probabilities, lengths, strict=True)
        ]
        await broker.publish_batch(*predictions, topic=task.sink)

    asyncio.run(FastStream(broker).run())
