"""What every process says of itself, and series that are there before anything happens."""

from collections import UserDict
from collections.abc import ItemsView

import pytest
from prometheus_client import generate_latest

from serve.metrics import ServeMetrics
from sink.metrics import SinkMetrics
from tests.flagship import PIPELINE
from tests.metric_text import metric_in
from training.monitoring.metrics import DriftMetrics
from worker.alarms.state_machine import AlarmPolicy
from worker.model.package_files import FAULTS
from worker.observe.metrics import Metrics, show
from worker.observe.worker_status import Status
from worker.observe.zero_series import begin_alarms_at_zero, begin_at_zero


@pytest.mark.parametrize("metrics", [Metrics, ServeMetrics, SinkMetrics, DriftMetrics])
def test_every_process_shows_its_build_and_its_memory(
    metrics: type[Metrics | ServeMetrics | SinkMetrics | DriftMetrics],
) -> None:
    text = generate_latest(metrics().registry).decode()
    assert metric_in(text, "hazardstream_build_info") == 1
    assert metric_in(text, "process_resident_memory_bytes") > 1e6
    assert "_created" not in text


def test_series_with_known_labels_are_zero_before_the_first_event() -> None:
    metrics = Metrics()
    begin_at_zero(metrics, PIPELINE, FAULTS)
    begin_alarms_at_zero(
        metrics, AlarmPolicy(setpoint=0.5, deadband=0.1, on_delay_ms=0, off_delay_ms=0, priorities={"HIGH": 0.5}), ()
    )
    series = [line for line in generate_latest(metrics.registry).decode().splitlines() if line.endswith(" 0.0")]
    for one in (
        'hazardstream_dead_letters_total{reason="late"}',
        'hazardstream_masked_values_total{sensor="voltage_v"}',
        'hazardstream_dependency_waits_total{dependency="schema registry"}',
        'hazardstream_model_refused_total{reason="too_slow"}',
        'hazardstream_stage_duration_seconds_count{stage="publish"}',
        'hazardstream_alarm_transitions_total{priority="HIGH",rule="model",state="ACTIVE"}',
    ):
        assert f"{one} 0.0" in series


def test_what_the_status_knows_is_in_the_metrics() -> None:
    status = Status(Metrics(), "pumps", "w-1", "exactly_once", phase="running", model={}, partitions={"ready": [0]})

    def now(name: str, **labels: str) -> float:
        return metric_in(generate_latest(status.metrics.registry).decode(), name, **labels)

    assert now("hazardstream_worker_info", pipeline="pumps", worker="w-1") == 1
    assert (now("hazardstream_ready"), now("hazardstream_last_commit_timestamp_seconds")) == (1, 0)
    status.note_down("mlflow", "no answer")
    assert (now("hazardstream_ready"), now("hazardstream_dependency_up", dependency="mlflow")) == (0, 0)
    status.note_all_up()
    status.note_commit()
    assert (now("hazardstream_ready"), now("hazardstream_dependency_up", dependency="mlflow")) == (1, 1)
    assert now("hazardstream_last_commit_timestamp_seconds") > 1e9


def test_a_series_that_stays_is_there_while_a_gauge_is_renewed() -> None:
    gauge = Metrics().lag
    show(gauge, {("0",): 5, ("1",): 6})

    class Scraped(UserDict[tuple[str, ...], float]):
        def items(self) -> ItemsView[tuple[str, ...], float]:
            assert _partitions() == ["0", "1"]
            return super().items()

    def _partitions() -> list[str]:
        return sorted(sample.labels["partition"] for family in gauge.collect() for sample in family.samples)

    show(gauge, Scraped({("1",): 7, ("2",): 8}))
    assert _partitions() == ["1", "2"]
