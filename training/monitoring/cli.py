"""The commands `drift` (monitoring of data and model) and `label` (confirmed events and false alarms)."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import (
    MONITOR,
    BootstrapOption,
    JsonOption,
    PipelineOption,
    RegistryOption,
    moment_ms,
)
from common.errors import UserError
from common.extras import require_extras
from common.json_text import strict_json
from common.progress import stop_on_signals
from common.terminal import say, terminal
from common.text import shown
from common.times import iso_now, iso_utc

if TYPE_CHECKING:
    import threading

    from training.monitoring.watch import Look, Watch
    from worker.config.pipeline import Pipeline
    from worker.config.settings import Settings
    from worker.model.reference import Reference


PublishOption = Annotated[bool, typer.Option("--publish", help="Publish events that the topic does not have yet.")]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Check periodically, publish events and serve metrics, until stopped.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (drift, label):
        app.command(rich_help_panel=MONITOR)(command)


def drift(
    *,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    model: Annotated[str | None, typer.Option(help="Model whose reference is used. Default: the pipeline's.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with plots to this directory.")] = None,
    publish: PublishOption = False,
    watch: WatchOption = False,
    every_s: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two checks.")] = 300.0,
    metrics_port: Annotated[int, typer.Option(help="With --watch: port of /metrics.")] = 8081,
    metrics_host: Annotated[str, typer.Option(help="With --watch: address of /metrics.")] = "127.0.0.1",
    new_baseline: Annotated[
        str | None, typer.Option(metavar="SITE", help="Restart the baseline of this site at --since.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="With --new-baseline: event time, ISO 8601.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find drift of data and model.

    Compares sites with their baseline and with the training data, and alarms with labels. Exit code 0, with or without
    drift.

    Example: hazardstream drift --report drift-report
    """
    if report is not None:
        require_extras("training")
    from common.logs import command_logs, configure_logs
    from training.monitoring.drift.events import new_baseline as begin
    from training.monitoring.topics import MonitoringTopics
    from training.monitoring.watch import Watch
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model)
    configure_logs(settings.log_level) if watch else command_logs("error")
    with MonitoringTopics(settings, patient=watch) as topics:
        watching = Watch(topics, partial(_reference, settings, topics.pipeline.model))
        if new_baseline is not None:
            if since is None:
                raise UserError("--new-baseline needs --since: the event time at which the baseline starts")
            if new_baseline not in (known := watching.look(publish=False).states):
                raise UserError(f"there is no site {new_baseline!r}; known are: {', '.join(known) or 'none'}")
            event = begin(new_baseline, _past_ms("--since", since))
            topics.publish("events", [(new_baseline, event.record())])
        if watch:
            with stop_on_signals() as stop:
                _watch(watching, every_s, metrics_host, metrics_port, stop)
            return
        look = watching.look(publish=publish)
    page = None
    if report is not None:
        from training.monitoring.report import write_report

        page = write_report(look, report)
    if as_json:
        say(strict_json(look.as_json() | {"report": page and str(page)}))
    else:
        _print(look)
        if page:
            say(f"report: {page}")


def _require_known(key: str, settings: "Settings", pipeline: "Pipeline") -> None:
    """Check that the input topic has readings of a key: a mistyped one would spoil the figures in silence.

    Raises:
        UserError: it has none.
    """
    from producers.newest import newest_times

    if not newest_times(
        pipeline, [key], sys.maxsize, bootstrap=settings.bootstrap_servers, registry=settings.registry_url
    ):
        raise UserError(
            f"{pipeline.input.topic} has no reading of {pipeline.input.key} {key!r} among its newest records; correct "
            "--key, or add --force if its readings are gone"
        )


def _past_ms(option: str, text: str) -> int:
    """A time in the past as ms since the Unix epoch.

    Raises:
        UserError: the text is not a time, or the time is in the future.
    """
    from training.monitoring.drift.clock import lies_ahead

    if lies_ahead(ts := moment_ms(option, text)):
        raise UserError(f"{option} {text} is in the future (it is {iso_now()} now); give a time in the past")
    return ts


def _reference(settings: "Settings", uri: str) -> "Reference | None":
    """The training reference of the model; None: sites are compared with their baseline only."""
    from common.errors import DependencyDownError
    from worker.admission.source import resolve_by_settings

    try:
        package = resolve_by_settings(settings, settings.model_uri(uri))
    except (UserError, DependencyDownError) as error:
        if settings.model or settings.best_run_id:
            raise
        say(f"no training reference, so sites are compared with their baseline only: {error}", err=True)
        return None
    return package.reference


def _watch(watching: "Watch", every_s: float, host: str, port: int, stop: "threading.Event") -> None:
    import structlog
    from prometheus_client import start_http_server

    from training.monitoring.metrics import DriftMetrics
    from training.monitoring.watch import watch

    log, metrics = structlog.get_logger(__name__), DriftMetrics()
    try:
        server, _ = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --metrics-port") from error
    log.info("watching", metrics=f"http://{host}:{server.server_port}/metrics")

    def say(look: "Look") -> None:
        for event in look.new_events:
            log.warning("drift event", **event.record())

    watch(watching, metrics, every_s, stop, say)
    server.shutdown()


def _print(look: "Look") -> None:
    from rich.table import Table

    from training.monitoring.drift.check import BASELINE_DAYS

    console = terminal()
    sites = Table("site", "model", "baseline", "data until", "active")
    for site, state in look.states.items():
        active = [shown(f"{kind}: {subject}") for of, kind, subject in look.active if of == site]
        sites.add_row(
            shown(site),
            shown(" ".join(state.history.model)),
            f"{state.baseline_days} of {BASELINE_DAYS} days" if state.learning else "complete",
            iso_utc(state.until_ts, "minutes"),
            "\n".join(active) or "-",
        )
    if look.states:
        console.print(sites)
    else:
        console.print("no sketches yet: workers publish the sketches of an hour once it is over in event time")
    for event in look.new_events:
        console.print(event.record()["message"], markup=False)
    if (found := look.figures) is not None:
        shares = (("precision", found.precision), ("recall", found.recall))
        figures = ", ".join(f"{name} {value:.2f}" for name, value in shares if value is not None)
        console.print(
            f"performance: {found.warned} of {found.events} events warned of, {found.false} false alarms; {figures}"
        )


def label(
    *,
    key: Annotated[str, typer.Option(help="The key that the label is about.")],
    at: Annotated[
        str,
        typer.Option(
            help="Event time, ISO 8601: point of no return of an event, or a time at which a false alarm was active."
        ),
    ],
    kind: Annotated[
        str, typer.Option(help="event, false_alarm, or withdrawn (an earlier label of that time was wrong).")
    ],
    by: Annotated[str | None, typer.Option(help="Who confirmed it.")] = None,
    note: Annotated[str | None, typer.Option(help="Free text.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Record it even if the input topic has no reading of this key (any more).")
    ] = False,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a confirmed event or a false alarm.

    Example: hazardstream label --key pump-7 --at 2026-01-31T12:00:00Z --kind event --by operator
    """
    from training.monitoring.performance.labels import KINDS, WITHDRAWN, Label
    from training.monitoring.topics import MonitoringTopics
    from worker.config.settings import load_settings

    if kind not in KINDS:
        raise UserError(f"--kind {kind!r} is not known; use one of {', '.join(KINDS)}")
    # A mistyped label can be withdrawn even if its time is in the future.
    ts = moment_ms("--at", at) if kind == WITHDRAWN else _past_ms("--at", at)
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    with MonitoringTopics(settings) as topics:
        if not (force or kind == WITHDRAWN):
            _require_known(key, settings, topics.pipeline)
        record = Label(key, ts, kind, by, note).record(topics.pipeline)
        topics.publish("labels", [(key, record)])
    say(strict_json(record) if as_json else f"labelled {key} at {at}: {kind}")
