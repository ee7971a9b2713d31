"""The commands that run a worker and look at it; what is heavy is imported when a command runs."""

from typing import Annotated

import typer

from common.cli_options import BootstrapOption, JsonOption, PipelineOption, RegistryOption
from common.errors import UserError
from common.logs import configure_logs
from common.terminal import say, terminal
from worker.cli.dlq import app as dlq_app
from worker.cli.model import app as model_app

topics_app = typer.Typer(help="Create or check the topics of a pipeline.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (worker, doctor, tail, explain):
        app.command()(command)
    app.add_typer(topics_app, name="topics")
    app.add_typer(dlq_app, name="dlq")
    app.add_typer(model_app, name="model")


def worker(
    pipeline: Annotated[
        str | None, typer.Option(help="Pipeline folder, file or name. Default: HAZARDSTREAM_PIPELINE.")
    ] = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="models:/NAME@ALIAS, models:/NAME/VERSION or /STAGE, runs:/ID/PATH, a directory or an exported file. "
            "Default: pipeline's."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group. Default: hazardstream-PIPELINE.")] = None,
    instance_id: Annotated[
        str | None, typer.Option(help="Stable name of this worker, unique in the group. Default: HOSTNAME-PORT.")
    ] = None,
    guarantee: Annotated[str | None, typer.Option(help="exactly_once (default) or at_least_once.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Sidecar's address. Default: 127.0.0.1.")] = None,
    http_port: Annotated[int | None, typer.Option(help="Sidecar's port; 0: any. Default: 8080.")] = None,
) -> None:
    """Score readings until stopped (SIGTERM finishes the batch, commits and leaves the group).

    Every option is also a variable of the environment, and there are more: docs/operations.md lists them.

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
    parse_places(settings.skip_unreadable)  # a mistake in it should not wait for a broker to be reported
    configure_logs(settings.log_level)
    try:
        run_worker(settings)
    except SupersededError as error:
        raise UserError(
            f"another worker has taken over as {settings.instance!r} ({error}); "
            "if that is not a successor of this one, give each worker its own --instance-id"
        ) from error
    except KafkaException as error:
        raise UserError(f"Kafka: {error_text(error)}; `hazardstream doctor` looks closer") from error


def doctor(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[str | None, typer.Option(help="Model to check. Default: the pipeline's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check all that a worker needs: broker, topics, schema registry, model. Says what is wrong and what to do.

    Example: hazardstream doctor --bootstrap broker:9092
    """
    from worker.cli.doctor import examine
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model)
    if not examine(settings, as_json=as_json):
        raise typer.Exit(1)


def tail(
    topic: Annotated[str, typer.Argument(help="A topic, or its role: predictions, alarms, …")],
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    from_beginning: Annotated[bool, typer.Option(help="From the first record instead of the next.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.")] = None,
) -> None:
    """Show the records of a topic as they are committed, decoded, one JSON object a line.

    Example: hazardstream tail alarms --from-beginning --limit 10
    """
    from worker.cli.tail import follow
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    follow(settings, topic, from_beginning=from_beginning, limit=limit)


def explain(
    module: Annotated[str, typer.Option(help="The module (key) whose prediction is to be explained.")],
    at: Annotated[
        str,
        typer.Option(help="Event time of the reading, ISO 8601 or ms since 1970; else its last one before is taken."),
    ],
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model to use instead of the version that the prediction names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Compute a past prediction or alarm again from the log: window, features, contributions, model version.

    Exit code 1 where the probability is not the published one, bit for bit.

    Example: hazardstream explain --module KEY --at 2026-01-31T12:00:00Z
    """
    import json

    from worker.cli.explain import explain as compute_again
    from worker.cli.explain_view import as_json as facts
    from worker.cli.explain_view import as_tables
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    configure_logs("warning")
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model)
    loaded = load_pipeline(settings.pipeline)
    found = compute_again(settings, module, _event_time_ms(at))
    if as_json:
        say(json.dumps(facts(found)))
    else:
        terminal().print(as_tables(found, loaded))
    if not found.same_bits:
        raise typer.Exit(1)


def _event_time_ms(text: str) -> int:
    from datetime import UTC, datetime

    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"--at {text!r} is not ISO 8601; write for example 2026-01-31T12:00:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@topics_app.command("create")
def topics_create(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of each topic.")] = 8,
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
) -> None:
    """Create the pipeline's topics that are missing, with the settings they need.

    Example: hazardstream topics create --partitions 24 --replication-factor 3
    """
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka.client_config import admin_client, client_config
    from worker.kafka.topics import create_topics

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    config, loaded = client_config(settings.bootstrap_servers), load_pipeline(settings.pipeline)
    made = create_topics(
        admin_client(config), loaded, partitions=partitions, replication_factor=replication_factor, config=config
    )
    say(f"created: {', '.join(made)}" if made else "all topics were there already")


@topics_app.command("check")
def topics_check(pipeline: PipelineOption = None, bootstrap: BootstrapOption = None) -> None:
    """Check that the pipeline's topics exist and are fit for it.

    Example: hazardstream topics check --bootstrap broker:9092
    """
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka.client_config import admin_client, client_config
    from worker.kafka.permissions import topic_permissions
    from worker.kafka.topics import check_topics, warnings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    config, loaded = client_config(settings.bootstrap_servers), load_pipeline(settings.pipeline)
    admin = admin_client(config)
    if faults := topic_permissions(admin, config, loaded.topics.values(), "Describe") or check_topics(admin, loaded):
        raise UserError("\n".join(faults))
    for warning in warnings(admin, loaded):
        say(f"warning: {warning}", err=True)
    say("topics are fit")
