"""The `promote` command: makes the challenger the champion."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import MONITOR, BootstrapOption, JsonOption, PipelineOption, RegistryOption, TrackingUriOption
from common.errors import UserError
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal

if TYPE_CHECKING:
    from training.promotion.decide import Decision
    from training.promotion.evidence import Evidence

_SHOWN = 10


YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Promote even if the evidence is insufficient or against it.")
]
KeyDaysOption = Annotated[float, typer.Option(min=0, help="Required shadow scoring, in key-days (days of one key).")]
EventsOption = Annotated[int, typer.Option(min=0, help="Required number of confirmed events.")]
LabelsOption = Annotated[
    Path | None,
    typer.Option(help="CSV or Parquet file of labels (key, time, kind), instead of the topic."),
]
ChampionOption = Annotated[
    str | None, typer.Option(help="The champion, models:/NAME@ALIAS. Default: the pipeline's model.")
]
ChallengerOption = Annotated[
    str | None,
    typer.Option(help="Challenger. Default: HAZARDSTREAM_CHALLENGER, or alias challenger of that model."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=MONITOR)(promote)


def promote(
    *,
    yes: YesOption = False,
    force: ForceOption = False,
    key_days: KeyDaysOption = 30.0,
    events: EventsOption = 5,
    labels: LabelsOption = None,
    model: ChampionOption = None,
    challenger: ChallengerOption = None,
    tracking_uri: TrackingUriOption = None,
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the challenger the champion, if its shadow records and the labels support that.

    Exit code 0: the champion's alias was moved. 1: it was not, and the output says why. Without --yes the command asks
    first. With --json and without --yes it only shows the evidence.

    Example: hazardstream promote --key-days 100 --events 3
    """
    require_extras("training")
    from common.logs import command_logs
    from training.monitoring.topics import MonitoringTopics
    from training.promotion.aliases import Aliases
    from training.promotion.decide import Requirements, decide
    from training.promotion.gather import gather
    from worker.config.settings import load_settings

    settings = load_settings(
        pipeline=pipeline,
        bootstrap_servers=bootstrap,
        registry_url=registry,
        model=model,
        challenger=challenger,
        tracking_uri=tracking_uri,
    )
    command_logs("error")
    with MonitoringTopics(settings) as topics:
        uri = settings.model_uri(topics.pipeline.model)
        aliases = Aliases.of(uri, settings.challenger, settings.tracking_uri)
        versions = aliases.versions()
        found = gather(topics, versions, labels)
    decision = decide(found, Requirements(key_days, events))
    if not as_json:
        _print(aliases.name, found, decision)
    moved = (decision.promote or force) and (yes or (not as_json and _confirmed(aliases.name, versions)))
    if moved:
        aliases.promote(versions)
    if as_json:
        reasons = {"insufficient": decision.insufficient, "worse": decision.worse}
        say(strict_json({"name": aliases.name, **found.as_json(), **reasons, "promoted": moved}))
    else:
        say(f"{aliases.champion} is now version {versions[1]}" if moved else "not promoted")
    if not moved:
        raise typer.Exit(1)


def _confirmed(name: str, versions: tuple[str, str]) -> bool:
    if not sys.stdin.isatty():
        raise UserError("there is no terminal to ask on; give --yes to move the alias, or --json to see the evidence")
    return typer.confirm(f"{name}: version {versions[1]} in place of {versions[0]}?")


def _print(name: str, found: "Evidence", decision: "Decision") -> None:
    from rich.table import Table

    def share(value: float | None, interval: tuple[float, float]) -> str:
        return "-" if value is None else f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"

    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f} s"

    console = terminal()
    agreement = f"{found.agreed / found.readings:.4%}" if found.readings else "-"
    console.print(
        f"{name}: {found.readings} readings of {found.keys} keys scored by both ({found.key_days:.2f} "
        f"key-days), {found.events} confirmed events\nagreement {agreement}; probabilities differ by "
        f"{found.difference_mean:.4f} on average, 99th percentile {found.difference_p99:.4f}"
    )
    if found.unknown_keys:
        unknown = ", ".join(found.unknown_keys[:_SHOWN])
        more = f" and {rest} more" if (rest := len(found.unknown_keys) - _SHOWN) > 0 else ""
        console.print(f"labels of keys that the shadow has never seen do not count: {unknown}{more}", markup=False)
    table = Table("", f"champion {found.champion_version}", f"challenger {found.challenger_version}")
    both = found.champion, found.challenger
    table.add_row("alarms", *(str(w.alarms) for w in both))
    table.add_row("events warned of", *(str(w.warned) for w in both))
    table.add_row("  5 minutes ahead", *(str(w.in_time) for w in both))
    table.add_row("recall", *(share(w.recall, w.recall_ci) for w in both))
    table.add_row("precision", *(share(w.precision, w.precision_ci) for w in both))
    table.add_row("lead time, median", *(seconds(w.lead_median_s) for w in both))
    table.add_row("lead time, 10th percentile", *(seconds(w.lead_p10_s) for w in both))
    table.add_row(
        "alarms without an event, per key-day",
        *(share(w.unexplained_per_key_day, w.unexplained_per_key_day_ci) for w in both),
    )
    table.add_row("  marked as false", *(str(w.marked) for w in both))
    console.print(table)
    for title, reasons in (("insufficient evidence", decision.insufficient), ("worse", decision.worse)):
        for reason in reasons:
            console.print(f"{title}: {reason}", markup=False)
    if decision.promote:
        console.print("the evidence is sufficient, and the challenger is not worse")
