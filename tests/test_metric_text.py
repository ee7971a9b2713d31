"""The tests' own reading of metrics: a zero is never that of a metric that does not exist."""

import pytest
from prometheus_client import generate_latest

from tests.metric_text import metric_in
from worker.observe.metrics import Metrics


def test_only_a_metric_that_exists_is_zero() -> None:
    metrics = Metrics()
    metrics.dead_letters.labels("late").inc(2)
    text = generate_latest(metrics.registry).decode()
    assert metric_in(text, "hazardstream_scored_total") == 0
    assert metric_in(text, "hazardstream_restore_duration_seconds_count") == 0
    assert metric_in(text, "hazardstream_stage_duration_seconds_count", stage="publish") == 0
    assert metric_in(text, "hazardstream_dead_letters_total", reason="late") == 2
    assert metric_in(text, "hazardstream_dead_letters_total", reason="future") == 0
    for wrong in ("hazardstream_scored", "hazardstream_score_total", "hazardstream_restore_duration_seconds"):
        with pytest.raises(AssertionError, match="no metric"):
            metric_in(text, wrong)
    with pytest.raises(AssertionError, match="has the labels"):
        metric_in(text, "hazardstream_dead_letters_total", cause="late")
