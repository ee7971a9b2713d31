"""What the devices publish during a run: the same for the same seed, at a steady rate, for as long as it is wanted."""

import threading
import time
from collections.abc import Iterator

from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.messages import PUBLISHED, Messages
from producers.kafka_publisher import Encoder, ReadingPublisher
from schemas.codec import encode
from schemas.load import parsed
from schemas.registry import SchemaRegistry
from schemas.wire import confluent_prefix
from tests.harness import START_MS
from worker.config.pipeline import Pipeline

MODULES, FAULTS, BAD_RATE = 64, 8, 0.03
STEPS_PER_S = 10  # 640 readings a second; event time runs 100 times as fast as the clock
_PERIOD_MS = 10_000
_FLEET_STEPS = 360  # an hour of event time, after which the fleet is whole again and fails in another way
_FIRMWARE_STEPS = 60  # after each of these numbers of steps the devices write with a schema that no worker has seen
_FAR_FUTURE_MS = 4_000_000_000_000


class Content:
    """The messages of a run, and how many of them have been published."""

    def __init__(self, pipeline: Pipeline, registry: SchemaRegistry, seed: int, seconds: float) -> None:
        """Register all schemas that the devices will write with.

        Args:
            pipeline: takes the readings.
            registry: must be up; it is not asked again.
            seed: same seed, same messages.
            seconds: for which there are new schemas; whoever publishes for longer uses the last one on.
        """
        self._pipeline, self._seed = pipeline, seed
        versions = 1 + int(seconds * STEPS_PER_S) // _FIRMWARE_STEPS
        self._encoders = [_encoder(pipeline, registry, version) for version in range(versions)]
        self.published = 0

    def steps(self) -> Iterator[list[tuple[str | None, bytes | None]]]:
        """Key and value of all messages, step by step, without end."""
        number = 0
        while True:
            fleet = Fleet(
                MODULES,
                self._seed + number,
                faults=FAULTS,
                start_ms=START_MS + number * _PERIOD_MS,
                span_ms=_FLEET_STEPS * _PERIOD_MS,
            )
            for step in fleet.steps(_FLEET_STEPS):
                encoder = self._encoders[min(number // _FIRMWARE_STEPS, len(self._encoders) - 1)]
                messages = Messages(fleet, encoder, BAD_RATE, self._pipeline.input.max_future_ms)
                yield [(key, value) for key, value, _ in messages.of(step, _FAR_FUTURE_MS)]
                number += 1

    def publish(self, bootstrap: str, stop: threading.Event) -> None:
        """Publish at a steady rate until stopped, and wait until all of it is confirmed.

        Raises:
            AssertionError: some of it was not.
        """
        publisher = ReadingPublisher(self._pipeline.input.topic, bootstrap)
        began = time.monotonic()
        for number, messages in enumerate(self.steps()):
            while not stop.is_set() and (early_s := began + number / STEPS_PER_S - time.monotonic()) > 0:
                publisher.wait(min(early_s, 0.2))
            if stop.is_set():
                break
            for key, value in messages:
                publisher.send(key, value, "message")
        publisher.close(timeout_s=60)
        self.published = publisher.delivered.total()
        assert publisher.failed == 0, f"{publisher.failed} messages were not confirmed: {publisher.last_error}"


def _encoder(pipeline: Pipeline, registry: SchemaRegistry, version: int) -> Encoder:
    schema = pipeline.input.avro_schema
    schema = schema | {"fields": [*schema["fields"], {"name": "firmware", "type": "string", "default": f"1.{version}"}]}
    prefix = confluent_prefix(registry.register(f"{pipeline.input.topic}-{version}", schema))
    source = pipeline.input
    writer, names = parsed(schema), (source.key, source.group, source.time, *PUBLISHED)

    def encode_reading(key: str, group: str, ts_ms: int, values: list[float | None]) -> bytes:
        return encode(dict(zip(names, (key, group, ts_ms, *values), strict=True)), writer, prefix)

    return encode_reading
