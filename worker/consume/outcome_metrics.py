"""Updates the metrics from a committed batch."""

import time
from collections import Counter
from collections.abc import Sequence

from common.text import in_label
from worker.alarms.rules import MODEL_NAME
from worker.observe.metrics import Metrics
from worker.score.outcome import Outcome


def count_outcome(metrics: Metrics, outcome: Outcome, sensors: Sequence[str]) -> None:
    """Bring the metrics up to date with a batch; `sensors` are those of the model, in its order."""
    scored = outcome.scored
    metrics.consumed.inc(len(outcome.batch))
    metrics.batch_readings.observe(len(outcome.batch))
    metrics.restored.inc(outcome.replayed)
    metrics.scored.inc(len(scored.probability))
    metrics.deduplicated.inc(outcome.deduplicated)
    for reason, count in Counter(r.reason for r in outcome.rejections).items():
        metrics.dead_letters.labels(reason).inc(count)
    fields = (*sensors, *scored.readings.categories)
    for field, count in zip(fields, scored.masked.sum(axis=0).tolist(), strict=True):
        if count:
            metrics.masked.labels(field).inc(count)
    for why, count in outcome.unjudged().items():
        metrics.not_assessable.labels(in_label(why)).inc(count)
    for transition in outcome.alarms.transitions:
        metrics.transitions.labels(transition.kind, transition.state.priority, transition.rule or MODEL_NAME).inc()
    if len(scored.probability):
        now_ms = time.time_ns() / 1e6
        metrics.latency_event.observe((now_ms - scored.readings.ts) / 1000)
        metrics.latency_broker.observe((now_ms - scored.origin.broker_ts) / 1000)
