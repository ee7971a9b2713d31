"""Checks of everything that a worker needs; each problem is reported with its remedy."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from common.errors import DependencyDownError, UserError
from common.json_text import strict_json
from common.redaction import redacted
from common.terminal import say, styled, terminal
from common.text import markup, shown
from schemas.codec import compile_decoder
from schemas.errors import UnreadableValueError
from schemas.registry import registry_from_environment
from worker.admission.source import resolve_by_settings
from worker.config.pipeline import Pipeline, load_pipeline
from worker.config.settings import Settings, unread_settings
from worker.kafka.client_config import admin_client, client_config, topic_partitions
from worker.kafka.permissions import worker_permissions
from worker.kafka.topics import check_topics, warnings


class Finding(NamedTuple):
    """The result of one check. verdict: ok, warning or wrong; text: what was found, and the remedy."""

    subject: str
    verdict: str
    text: str


def examine(settings: Settings, *, as_json: bool) -> bool:
    """Run all checks and print their results.

    Returns:
        Whether a worker could run.
    """
    findings = list(_findings(settings))
    ok = all(f.verdict != "wrong" for f in findings)
    if as_json:
        say(strict_json({"ok": ok, "findings": [f._asdict() for f in findings]}))
        return ok
    console = terminal(soft_wrap=True)
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]  "}
    for finding in findings:
        console.print(styled(f"{marks[finding.verdict]}  {finding.subject:<9} {markup(finding.text)}"))
    return ok


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
    broker = _look("broker", lambda: f"{servers} answers, {len(topic_partitions(admin))} topics")
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
    yield _look("registry", lambda: _registry(settings, pipeline))
    yield _look("model", lambda: _model(settings, pipeline))


def _look(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "ok", redacted(check()))
    except (UserError, DependencyDownError, UnreadableValueError) as error:
        return Finding(subject, "wrong", str(error))


def _registry(settings: Settings, pipeline: Pipeline) -> str:
    if settings.registry_url is None:
        return "not used: outputs have Avro single-object encoding; set SCHEMA_REGISTRY_URL for Confluent's wire format"
    registry = registry_from_environment(settings.registry_url)
    subject = f"{pipeline.input.topic}-value"
    latest = registry.latest(subject)
    if latest is None:
        return f"{settings.registry_url} answers; the subject {subject} has no schema yet"
    schema_id, writer = latest
    try:
        compile_decoder(writer, pipeline.input.avro_schema)
    except UnreadableValueError as error:
        raise UserError(
            f"the latest schema of {subject} (id {schema_id}) cannot be resolved to the pipeline's: {error}; "
            f"correct the producer's schema, or add its names as aliases in {shown(pipeline.input.record.file)}"
        ) from error
    return f"{settings.registry_url} answers; the latest schema of {subject} (id {schema_id}) can be read"


def _model(settings: Settings, pipeline: Pipeline) -> str:
    uri = settings.model_uri(pipeline.model)
    package = resolve_by_settings(settings, uri, pipeline)
    return f"{uri}: {package.name} version {package.version} passes the check"
