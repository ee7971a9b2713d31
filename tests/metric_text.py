"""Read a metric out of what `/metrics` says, without taking a name that does not exist for a zero."""

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


def metric_in(text: str, name: str, /, **labels: str) -> float:
    """Sum of a metric's samples with these labels, in what `/metrics` says.

    Raises:
        AssertionError: there is no such metric, or it has no such label. Without that, a test that expects 0 would
            go on passing after a metric is renamed.
    """
    # To parse a line takes long: of the samples, only those that begin with the name are wanted.
    wanted = [line for line in text.splitlines() if line.startswith(("#", name))]
    families = list(text_string_to_metric_families("\n".join(wanted)))
    assert any(name in _sample_names(f) for f in families), f"no metric {name} in {sorted(f.name for f in families)}"
    samples = [s for f in families for s in f.samples if s.name == name]
    for sample in samples:
        assert labels.keys() <= sample.labels.keys(), f"{name} has the labels {sorted(sample.labels)}"
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def _sample_names(family: Metric) -> set[str]:
    """What the samples of a metric are called, also where it has labels and none was observed."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
    return {family.name + ending for ending in endings}
