"""Metric names follow the conventions of Prometheus (https://prometheus.io/docs/practices/naming/)."""

import pytest
from prometheus_client import CollectorRegistry

from training.monitoring.metrics import DriftMetrics
from worker.observe.metrics import Metrics

OTHER_UNITS = ("_ms", "_minutes", "_hours", "_days", "_share", "_percent", "_kb", "_mb")


@pytest.mark.parametrize("registry", [Metrics().registry, DriftMetrics().registry], ids=["worker", "drift"])
def test_counters_end_in_total_units_are_base_units_and_each_metric_has_a_meaning(registry: CollectorRegistry) -> None:
    families = list(registry.collect())

    assert families
    for family in families:
        assert family.name.startswith(("hazardstream_", "process_"))
        assert not family.name.endswith(("_total", *OTHER_UNITS)), family.name  # of counters, the client adds it
        assert family.documentation.endswith("."), family.name
