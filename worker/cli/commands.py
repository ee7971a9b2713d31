"""The commands that run and inspect a worker. Each imports what it needs when it runs, so that `--help` is fast."""

from typing import Annotated

import typer

from common.cli_options import (
    MODELS,
    OPERATE,
    RUN,
    BootstrapOption,
    JsonOption,
    PipelineOption,
    RegistryOption,
    moment_ms,
)
from common.errors import UserError
from common.json_text import strict_json
from common.logs import configure_logs
from common.terminal import say, terminal
from worker.cli.dlq import app as dlq_app
from worker.cli.model import app as model_app
from worker.cli.pipeline import app as pipeline_app
from worker.cli.topics import app as topics_app


def register(app: typer.Typer) -> None:
    """Add the commands to the `hazardstream` program."""
    app.command(rich_help_panel=RUN)(worker)
    for command in (doctor, tail, explain):
        app.command(rich_help_panel=OPERATE)(command)
    app.add_typer(pipeline_app, name="pipeline", rich_help_panel=RUN)
    app.add_typer(topics_app, name="topics", rich_help_panel=RUN)
    app.add_typer(dlq_app, name="dlq", rich_help_panel=OPERATE)
    app.add_typer(model_app, name="model", rich_help_panel=MODELS)


def worker(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/STAGE, runs:/ID/PATH, a directory or an "
            "exported file. Default: the pipeline's model."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group. Default: hazardstream-PIPELINE.")] = None,
    instance_id: Annotated[
        str | None,
        typer.Option(
            help="Name of this worker: unique in the group, the same after a restart. Default: HOSTNAME-PORT."
        ),
    ] = None,
    guarantee: Annotated[str | None, typer.Option(help="exactly_once (default) or at_least_once.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Address of the HTTP sidecar. Default: 127.0.0.1.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of the HTTP sidecar; 0: any free port. Default: 8080.")
    ] = None,
) -> None:
    """Score readings until stopped.

    SIGTERM finishes and commits the current batch. All options are also environment variables (docs/operations.md).

    Example: hazardstream worker --bootstrap broker:9092 --model models:/NAME@champion
    """
    from confluent_kafka import KafkaException

    from common.errors import SupersededError
    from worker.app import run_worker
    from worker.config.settings import load_settings
    from worker.consume.unreadable import parse_places
    from worker.kafka.client_config import error_text

    settings = load_settings(
        pipeline=pipeline,
        bootstrap_servers=bootstrap,
        registry_url=registry,
        model=model,
        group_id=group,
        instance_id=instance_id,
        guarantee=guarantee,
        http_host=http_host,
        http_port=http_port,
    )
    parse_places(settings.skip_unreadable)  # report a mistake in it before a broker is needed
    configure_logs(settings.log_level)
    try:
        run_worker(settings)
    except SupersededError as error:
        raise UserError(
            f"another worker with the instance id {settings.instance!r} has taken over ({error}). "
            "If it was not meant to replace this one, give each worker its own --instance-id"
        ) from error
    except KafkaException as error:
        raise UserError(f"Kafka: {error_text(error)}; run `hazardstream doctor` to find the cause") from error


def doctor(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[str | None, typer.Option(help="Model to check. Default: the pipeline's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check everything that a worker needs, and say how to fix each problem.

    It checks broker, topics, schema registry and model. Exit code 1 if there is a problem, 3 if a service does not
    answer.

    Example: hazardstream doctor --bootstrap broker:9092
    """
    from worker.cli.doctor import examine
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model)
    raise typer.Exit(examine(settings, as_json=as_json))


def tail(
    topic: Annotated[str, typer.Argument(help="A topic, or its role in the pipeline: input, predictions, alarms, …")],
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the first record of the topic, not with new records.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after N records.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Continue after the last record that this consumer group has printed. Each is committed after it was "
            "printed, so after a crash some may come twice, and none is left out."
        ),
    ] = None,
    as_json: Annotated[  # noqa: ARG001 - the program looks for it where it prints errors
        bool, typer.Option("--json", help="Records are JSON in any case; with this, an error is one JSON object too.")
    ] = False,
) -> None:
    """Show a topic's records as they are committed, one JSON object per line.

    Example: hazardstream tail alarms --from-beginning --limit 10
    """
    from worker.cli.tail import Tail, follow
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    follow(settings, Tail(topic, from_beginning, limit, group))


def explain(
    key: Annotated[str | None, typer.Option(help="Key of the reading.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Event time of the reading, ISO 8601 (UTC if it has no zone) or ms since 1970. If no reading has it, "
            "the last one before it is used, or within its second if it is given in whole seconds.",
        ),
    ] = None,
    alarm: Annotated[
        str | None, typer.Option(metavar="ID", help="Explain the reading that raised this alarm (its `alarm_id`).")
    ] = None,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model to use. Default: the version that made the prediction.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute a past prediction from the log, and show how it came about.

    Shows window, features, contributions and model version. Exit code 1 if the recomputed probability differs from the
    published one in any bit.

    Example: hazardstream explain --key pump-17 --at 2026-01-31T12:00:00Z
    """
    from worker.cli.explain import explain as compute_again
    from worker.cli.explain_view import as_json as facts
    from worker.cli.explain_view import as_tables
    from worker.cli.published import reading_of_alarm
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model)
    loaded = load_pipeline(settings.pipeline)
    if alarm is not None and key is None and at is None:
        reading = reading_of_alarm(settings, loaded, alarm)
        explained = compute_again(settings, loaded, *reading)
    elif alarm is None and key is not None and at is not None:
        explained = compute_again(settings, loaded, key, *_moment(at))
    else:
        raise UserError("give either --key and --at, or --alarm with the id of an alarm")
    if as_json:
        say(strict_json(facts(explained, loaded)))
    else:
        terminal().print(as_tables(explained, loaded))
    if not explained.same_bits:
        raise typer.Exit(1)


def _moment(text: str) -> tuple[int, int]:
    """From when to when the requested reading may be, ms. Screens show times in whole seconds."""
    if text.isdecimal():
        return int(text), int(text)
    at_ms = moment_ms("--at", text)
    return at_ms, at_ms if "." in text or "," in text else at_ms + 999
