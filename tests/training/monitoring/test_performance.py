"""Which labels count."""

from typing import Any

from tests.drift_sites import START_MS
from tests.flagship import PIPELINE
from training.monitoring.performance.labels import EVENT, Label, labels_from
from training.monitoring.performance.rolling import figures

IN_2062 = START_MS + 36 * 365 * 86_400_000


def records(*labels: Label) -> list[dict[str, Any]]:
    return [label.record(PIPELINE) | {"labelled_at": place} for place, label in enumerate(labels)]


def test_a_label_of_a_time_to_come_does_not_move_the_last_days() -> None:
    assert PIPELINE.monitor is not None
    known, mistyped = Label("A", START_MS, EVENT), Label("B", IN_2062, EVENT)
    labels = labels_from(records(known, mistyped), PIPELINE)
    assert labels == [known]
    found = figures([], labels, {}, PIPELINE.monitor.performance, ("m", "1"))
    assert (found.until_ts, found.missed) == (START_MS, (("A", START_MS),))
