"""The `retrain` command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import MONITOR, BootstrapOption, JsonOption, PipelineOption, RegistryOption, TrackingUriOption
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say

if TYPE_CHECKING:
    from pipelines.battery_hazard.training.retraining.attempt import Report, Workshop


WatchOption = Annotated[
    bool,
    typer.Option("--watch", help="Run until stopped: retrain on drift or performance events, or on --trigger-file."),
]
TriggerFileOption = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="With --watch: retrain once this file exists, then delete it."),
]
EveryOption = Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two checks.")]
AtMostEveryOption = Annotated[
    float, typer.Option(min=0, help="With --watch: at least this many hours between two retrainings.")
]
SmallOption = Annotated[bool, typer.Option("--small", help="Train a small model on few sites, in minutes.")]
DaysOption = Annotated[
    float, typer.Option(min=0, help="Days of recorded readings to train on, in addition to simulated sites. 0: none.")
]
AliasOption = Annotated[str, typer.Option(help="Alias that a candidate gets if it is not worse.")]
HomeOption = Annotated[
    Path | None, typer.Option(help="Directory for all retrainings. Default: one in the user's cache.")
]
ChampionOption = Annotated[
    str | None, typer.Option(help="The champion to compare with. Default: the pipeline's model.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=MONITOR)(retrain)


def retrain(
    *,
    watch: WatchOption = False,
    trigger_file: TriggerFileOption = None,
    every_s: EveryOption = 60.0,
    at_most_every_h: AtMostEveryOption = 24.0,
    small: SmallOption = False,
    days: DaysOption = 7.0,
    alias: AliasOption = "challenger",
    home: HomeOption = None,
    model: ChampionOption = None,
    tracking_uri: TrackingUriOption = None,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a candidate on recorded and simulated data, and register it as challenger if it is not worse.

    While MLflow is down, or another version is the challenger, the candidate waits; the next call tries to register it.
    Exit code 1: the candidate is worse than the champion, or not registered yet.

    Example: hazardstream retrain --watch --trigger-file /var/lib/hazardstream/retrain
    """
    from common.logs import command_logs, configure_logs
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    require_extras("training")
    from pipelines.battery_hazard.training.fitting.presets import DEFAULT, SMALL
    from pipelines.battery_hazard.training.retraining.attempt import Workshop
    from training.registry.register import refuse_bad_alias

    refuse_bad_alias(alias)
    settings = load_settings(
        pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry, model=model, tracking_uri=tracking_uri
    )
    configure_logs(settings.log_level) if watch else command_logs("error")
    name = load_pipeline(settings.pipeline).name
    place = home or settings.cache_directory / "retraining" / name
    workshop = Workshop(settings, place, SMALL if small else DEFAULT, days)
    if watch:
        _watch(workshop, trigger_file, alias, every_s, at_most_every_h * 3600)
        return
    report, directory = _retrain_once(workshop, alias, quiet=as_json)
    say(
        strict_json(report.model_dump(mode="json") | {"directory": str(directory)})
        if as_json
        else _outcome_text(report)
    )
    if report.status != "registered":
        raise typer.Exit(1)


def _retrain_once(workshop: "Workshop", alias: str, *, quiet: bool) -> tuple["Report", Path]:
    from common.errors import DependencyDownError
    from pipelines.battery_hazard.training.cli import watched
    from pipelines.battery_hazard.training.retraining.attempt import read_report
    from pipelines.battery_hazard.training.retraining.attempt import retrain as attempt
    from pipelines.battery_hazard.training.retraining.synchronise import synchronise

    for earlier in workshop.attempts():
        read_report(earlier)  # Report damaged files before the training, which takes hours.
    with watched(quiet=quiet) as show:
        directory = attempt(workshop, ["requested by hand"], show)
        try:
            synchronise(workshop, alias, 60.0, show)
        except DependencyDownError as down:
            say(f"{down}; the candidate waits in {workshop.home} for the next call", err=True)
    return read_report(directory), directory


def _watch(workshop: "Workshop", trigger_file: Path | None, alias: str, every_s: float, at_most_every_s: float) -> None:
    import signal
    import threading

    import structlog

    from pipelines.battery_hazard.training.fitting.train import silent
    from pipelines.battery_hazard.training.retraining.triggers import Triggers
    from pipelines.battery_hazard.training.retraining.watch import watch
    from training.monitoring.topics import MonitoringTopics

    log = structlog.get_logger(__name__)

    def end(*_: object) -> None:
        # This may interrupt a training: unfinished files are removed, and its triggers stay.
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with MonitoringTopics(workshop.settings, patient=True) as topics:
        triggers = Triggers(topics, workshop.home / "answered.json", trigger_file)
        log.info("waiting for triggers", home=str(workshop.home))
        watch(
            workshop,
            triggers,
            alias=alias,
            every_s=every_s,
            at_most_every_s=at_most_every_s,
            stop=threading.Event(),
            progress=silent,
            say=lambda report: log.warning("retraining", outcome=_outcome_text(report)),
        )


def _outcome_text(report: "Report") -> str:
    if report.status == "rejected":
        return f"{report.name}: the candidate is not registered: " + "; ".join(report.worse)
    if report.status == "pending":
        what = f"{report.name}: the candidate is not worse than version {report.champion}, but waits"
        return f"{what}: {report.waits_for}" if report.waits_for else f"{what} for the registry"
    return f"{report.name}: version {report.version} is the challenger of version {report.champion}"
