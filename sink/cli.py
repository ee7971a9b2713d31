"""The commands `sink` (store output topics), `logs` and `stats` (query what is stored)."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import DATA, BootstrapOption, JsonOption, PipelineOption, RegistryOption, iso_ms
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

_DATABASE = (
    "sqlite:///PATH or postgresql://USER@HOST/NAME. Default: HAZARDSTREAM_SINK, or a file in the data directory."
)

_ToOption = Annotated[
    str | None,
    typer.Option(
        help="sqlite:///PATH, postgresql://USER@HOST/NAME or parquet:DIRECTORY. Default: HAZARDSTREAM_SINK, or an "
        "SQLite file in the data directory."
    ),
]
_RequestLogOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOPIC", help="Store the request log of `serve` too. Default: HAZARDSTREAM_REQUEST_LOG, or none."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (sink, logs, stats):
        app.command(rich_help_panel=DATA)(command)


def sink(
    *,
    to: _ToOption = None,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="Store only topics of these roles. Default: predictions, alarms and dead_letters."),
    ] = None,
    request_log: _RequestLogOption = None,
    every_s: Annotated[
        float | None,
        typer.Option(min=0, help="Longest time between two transactions or files. Default: 1, with Parquet 60."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop at the current ends of the topics.")] = False,
    group: Annotated[
        str | None,
        typer.Option(help="Consumer group. Default: hazardstream-sink-PIPELINE and a digest of the destination."),
    ] = None,
    instance_id: Annotated[
        str | None,
        typer.Option(help="Name of this sink in its group; with one, it has its partitions back at once."),
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics. Default: none.")] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of /metrics.")] = "127.0.0.1",
) -> None:
    """Store predictions, alarms and dead letters in a database or as Parquet files, each record exactly once.

    SIGTERM stores the current batch and leaves the group.

    Example: hazardstream sink --to postgresql://hazardstream@db/hazardstream
    """
    require_extras("sink")
    from common.logs import command_logs, configure_logs
    from common.progress import stop_on_signals
    from sink.app import Given, run_sink
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    (command_logs if once else configure_logs)(settings.log_level)
    given = Given(
        to,
        tuple(role or ()),
        request_log,
        every_s,
        once,
        group,
        instance_id or settings.instance_id,
        metrics_port,
        metrics_host,
    )
    with stop_on_signals() as stop:
        complete = run_sink(settings, given, stop)
    if not complete:
        raise typer.Exit(1)


def logs(
    *,
    of: Annotated[str | None, typer.Option("--database", help=_DATABASE)] = None,
    pipeline: PipelineOption = None,
    table: Annotated[
        str, typer.Option(help="predictions, alarms, dead_letters, requests or unreadable.")
    ] = "predictions",
    key: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only records with this Kafka timestamp or later, ISO 8601.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 20,
) -> None:
    """Show the newest stored rows, newest first: one JSON object per line.

    Example: hazardstream logs --key pump-7 --since 2026-01-31T12:00:00Z --limit 5
    """
    engine = _engine(of, pipeline)
    from sink.queries import newest_rows

    since_ms = iso_ms("--since", since)
    at = None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, UTC)
    for row in newest_rows(engine, table, key, at, limit):
        say(strict_json(row))


def stats(
    *,
    of: Annotated[str | None, typer.Option("--database", help=_DATABASE)] = None,
    pipeline: PipelineOption = None,
    hours: Annotated[int, typer.Option(min=1, max=24 * 366, help="How far back predictions are counted.")] = 24,
    as_json: JsonOption = False,
) -> None:
    """Show how much is stored: rows and sizes of tables, predictions by model version and hour, losses.

    Example: hazardstream stats --json
    """
    engine = _engine(of, pipeline)
    from sink.queries import database_stats, predictions_by_model

    found = database_stats(engine)
    since = datetime.now(UTC) - timedelta(hours=hours)
    found["models"] = predictions_by_model(engine, since) if "predictions" in found["tables"] else []
    if as_json:
        say(strict_json(found))
        return
    from sink.stats_view import show_stats

    show_stats(terminal(), found, hours)


def _engine(of: str | None, pipeline: str | None) -> "Engine":
    require_extras("sink")
    from sink.destination import database
    from sink.engine import reading_engine
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    return reading_engine(database(of, load_pipeline(load_settings(pipeline=pipeline).pipeline).name))
