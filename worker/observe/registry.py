"""A registry of metrics as every process of the product has it."""

import platform
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics


def process_registry() -> CollectorRegistry:
    """A registry with metrics of the process (memory, CPU, open files) and its build, without `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the client gives it no types
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(
        "hazardstream_build_info", "1 for the version that runs.", ["version", "python_version"], registry=registry
    )
    build.labels(version("hazardstream"), platform.python_version()).set(1)
    return registry
