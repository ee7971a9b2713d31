"""Checks of everything that a worker needs; each problem is reported with its remedy."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from common.errors import DEPENDENCY_DOWN, DependencyDownError, UserError
from worker.cli.findings import Finding, finding, report
from worker.cli.pipeline_check import model_says, registry_says
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings, unread_settings
from worker.kafka.client_config import admin_client, topic_partitions
from worker.kafka.permissions import worker_permissions
from worker.kafka.reachable import reachable_config
from worker.kafka.topics import check_topics, warnings


def examine(settings: Settings, *, as_json: bool) -> int:
    """Run all checks and print their results.

    Returns:
        The exit code: 0 if a worker could run, 3 if a service does not answer, otherwise 1.
    """
    found = list(_findings(settings))
    if report(found, as_json=as_json):
        return 0
    return DEPENDENCY_DOWN if any(each.down for each in found) else 1


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from (Finding("settings", "warning", text) for text in unread_settings())
    try:
        pipeline = load_pipeline(settings.pipeline)
    except UserError as error:
        yield from (Finding("pipeline", "wrong", fault) for fault in str(error).split("\n"))
        return
    yield Finding(
        "pipeline", "ok", f"{settings.pipeline}: {pipeline.input.topic} → {pipeline.outputs.predictions.topic}"
    )
    with ThreadPoolExecutor() as at_once:  # several services may be silent
        broker = at_once.submit(lambda: list(_of_broker(settings, pipeline)))
        registry = at_once.submit(finding, "registry", lambda: registry_says(settings, pipeline))
        model = at_once.submit(finding, "model", lambda: model_says(settings, pipeline))
        yield from [*broker.result(), registry.result(), model.result()]


def _of_broker(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    try:
        config = reachable_config(settings.bootstrap_servers)
    except DependencyDownError as error:
        yield Finding("broker", "wrong", error.reason, down=True)
    else:
        yield from _of_reachable(config, settings, pipeline)


def _of_reachable(config: dict[str, Any], settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    admin, servers = admin_client(config), config["bootstrap.servers"]
    yield Finding("broker", "ok", f"{servers} answers, {len(topic_partitions(admin))} topics")
    denied = worker_permissions(admin, config, pipeline, settings.group_of(pipeline.name))
    yield from (Finding("acl", "wrong", text) for text in denied)
    # Without permission to describe them, existing topics would be reported as missing.
    faults = [] if denied else check_topics(admin, pipeline)
    yield from (Finding("topics", "wrong", fault) for fault in faults)
    if not (faults or denied):
        yield Finding("topics", "ok", ", ".join(pipeline.topics.values()))
        yield from (Finding("topics", "warning", text) for text in warnings(admin, pipeline))
