"""Check everything a worker needs, and say what is wrong and what to do."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from common.errors import DependencyDownError, UserError
from common.redaction import redacted
from common.terminal import say, styled, terminal
from common.text import markup, shown
from schemas.codec import compile_decoder
from schemas.errors import UnreadableValueError
from schemas.registry import registry_from_environment
from worker.admission.admit import demands_of
from worker.admission.source import resolve
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings, unread_settings
from worker.kafka.client_config import admin_client, client_config, topic_partitions
from worker.kafka.permissions import worker_permissions
from worker.kafka.topics import check_topics, warnings


class Finding(NamedTuple):
    """One thing looked at: how it stands (ok, warning, wrong), and in words."""

    subject: str
    verdict: str
    words: str


def examine(settings: Settings, *, as_json: bool) -> bool:
    """Look at everything, print it, and tell whether a worker could run."""
    findings = list(_findings(settings))
    well = all(f.verdict != "wrong" for f in findings)
    if as_json:
        say(json.dumps({"ok": well, "findings": [f._asdict() for f in findings]}))
        return well
    console = terminal(soft_wrap=True)
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]  "}
    for finding in findings:
        console.print(styled(f"{marks[finding.verdict]}  {finding.subject:<9} {markup(finding.words)}"))
    return well


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from (Finding("settings", "warning", words) for words in unread_settings())
    try:
        pipeline = load_pipeline(settings.pipeline)
    except UserError as error:
        yield from (Finding("pipeline", "wrong", fault) for fault in str(error).split("\n"))
        return
    yield Finding(
        "pipeline", "ok", f"{settings.pipeline}: {pipeline.input.topic} -> {pipeline.outputs.predictions.topic}"
    )
    config = client_config(settings.bootstrap_servers)
    admin, servers = admin_client(config), config["bootstrap.servers"]
    broker = _look("broker", lambda: f"{servers} answers, {len(topic_partitions(admin))} topics")
    if broker.verdict == "wrong":
        words = broker.words.removeprefix("broker: ")
        # A cause that the client has named comes with what to do.
        advice = "start a broker, or give its address with --bootstrap or KAFKA_BOOTSTRAP_SERVERS (TLS/SASL: KAFKA_*)"
        yield Finding("broker", "wrong", words if "; " in words else f"{servers}: {words}; {advice}")
    else:
        yield broker
        group_id = settings.group_id or f"hazardstream-{pipeline.name}"
        denied = worker_permissions(admin, config, pipeline, group_id)
        yield from (Finding("acl", "wrong", words) for words in denied)
        # What may not be described would be called missing.
        faults = [] if denied else check_topics(admin, pipeline)
        yield from (Finding("topics", "wrong", fault) for fault in faults)
        if not (faults or denied):
            yield Finding("topics", "ok", ", ".join(pipeline.topics.values()))
            yield from (Finding("topics", "warning", words) for words in warnings(admin, pipeline))
    yield _look("registry", lambda: _registry(settings, pipeline))
    yield _look("model", lambda: _model(settings, pipeline))


def _look(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "ok", redacted(check()))
    except (UserError, DependencyDownError, UnreadableValueError) as error:
        return Finding(subject, "wrong", str(error))


def _registry(settings: Settings, pipeline: Pipeline) -> str:
    if settings.registry_url is None:
        return "none set: Avro single-object encoding; set SCHEMA_REGISTRY_URL to read and write Confluent's format"
    registry = registry_from_environment(settings.registry_url)
    subject = f"{pipeline.input.topic}-value"
    latest = registry.latest(subject)
    if latest is None:
        return f"{settings.registry_url} answers; nothing is registered under {subject} yet"
    schema_id, writer = latest
    try:
        compile_decoder(writer, pipeline.input.avro_schema)
    except UnreadableValueError as error:
        raise UserError(
            f"schema {schema_id}, the latest under {subject}, does not resolve to ours: {error}; "
            f"correct the producer's schema, or add the old names as aliases in {shown(pipeline.input.record.file)}"
        ) from error
    return f"{settings.registry_url} answers; schema {schema_id} under {subject} resolves to ours"


def _model(settings: Settings, pipeline: Pipeline) -> str:
    uri = settings.model_uri(pipeline.model)
    package = resolve(
        uri,
        cache_directory=settings.cache_directory,
        tracking_uri=settings.tracking_uri,
        demands=demands_of(settings, pipeline),
    )
    return f"{uri}: {package.name} version {package.version}, it passes the check"
