"""Input for runs that are compared with an uninterrupted one."""

import hashlib
import itertools

from pipelines.battery_hazard.simulator.fleet import Fleet
from pipelines.battery_hazard.simulator.messages import PUBLISHED, Messages
from producers.kafka_publisher import encoder
from tests.harness import START_MS, Stage
from tests.kept import kept
from tests.uninterrupted import uninterrupted_run
from worker.config.pipeline import Pipeline

Content = list[tuple[str | None, bytes | None]]
_FAR_FUTURE_MS = 4_000_000_000_000


def fleet_content(stage: Stage, steps: int = 400, seed: int = 3) -> Content:
    """A fleet of twelve modules, two of them failing, with bad records of every kind among the readings."""
    pipeline = stage.pipeline
    reads = hashlib.sha256(pipeline.input.model_dump_json(exclude={"topic"}).encode()).hexdigest()[:8]
    return kept(f"fleet-{reads}-{steps}-{seed}", lambda: _make(pipeline, steps, seed))


def _make(pipeline: Pipeline, steps: int, seed: int) -> Content:
    fleet = Fleet(12, seed, faults=2, start_ms=START_MS, span_ms=steps * 10_000)
    messages = Messages(fleet, encoder(pipeline, None, PUBLISHED), 0.03, pipeline.input.max_future_ms)
    return [
        (key, value)
        for step in itertools.islice(fleet.steps(), steps)
        for key, value, _ in messages.of(step, _FAR_FUTURE_MS)
    ]


def expected_outcomes(stage: Stage) -> int:
    """How many readings will have been scored and records dead-lettered in the end."""
    expected = uninterrupted_run(stage)
    return len(expected.probability) + len(expected.rejected)
