"""Checks of everything that a worker needs; each problem is reported with its remedy."""

from collections.abc import Iterator

from common.errors import UserError
from worker.cli.findings import Finding, finding, report
from worker.cli.pipeline_check import model_says, registry_says
from worker.config.pipeline import load_pipeline
from worker.config.settings import Settings, unread_settings
from worker.kafka.client_config import admin_client, client_config, topic_partitions
from worker.kafka.permissions import worker_permissions
from worker.kafka.topics import check_topics, warnings


def examine(settings: Settings, *, as_json: bool) -> bool:
    """Run all checks and print their results.

    Returns:
        Whether a worker could run.
    """
    return report(list(_findings(settings)), as_json=as_json)


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
    config = client_config(settings.bootstrap_servers)
    admin, servers = admin_client(config), config["bootstrap.servers"]
    broker = finding("broker", lambda: f"{servers} answers, {len(topic_partitions(admin))} topics")
    if broker.verdict == "wrong":
        text = broker.text.removeprefix("broker: ")
        # A text with a semicolon ends with a remedy already.
        advice = "start a broker, or give its address with --bootstrap or KAFKA_BOOTSTRAP_SERVERS (TLS/SASL: KAFKA_*)"
        yield Finding("broker", "wrong", text if "; " in text else f"{servers}: {text}; {advice}")
    else:
        yield broker
        denied = worker_permissions(admin, config, pipeline, settings.group_of(pipeline.name))
        yield from (Finding("acl", "wrong", text) for text in denied)
        # Without permission to describe them, existing topics would be reported as missing.
        faults = [] if denied else check_topics(admin, pipeline)
        yield from (Finding("topics", "wrong", fault) for fault in faults)
        if not (faults or denied):
            yield Finding("topics", "ok", ", ".join(pipeline.topics.values()))
            yield from (Finding("topics", "warning", text) for text in warnings(admin, pipeline))
    yield finding("registry", lambda: registry_says(settings, pipeline))
    yield finding("model", lambda: model_says(settings, pipeline))
