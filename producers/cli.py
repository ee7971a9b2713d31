"""The command that publishes a recording."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from common.cli_options import DATA, BootstrapOption, JsonOption, PipelineOption, RegistryOption, iso_ms
from common.errors import UserError
from common.extras import require_extras
from common.json_text import strict_json
from common.progress import INTERRUPTED, progress_bar, stop_on_signals
from common.terminal import say
from producers.options import (
    AsFastAsPossibleOption,
    ColumnsOption,
    DryRunOption,
    GroupOption,
    KeyColumnsOption,
    KeyOption,
    MappingOption,
    QueryOption,
    RateOption,
    RecordedTopologyOption,
    RecordingsArgument,
    RecordingSpeedOption,
    ReplayEveryOption,
    ResumeOption,
    SheetOption,
    SkipBadOption,
    StartOption,
    StateOption,
    TimeFormatOption,
    TimeUnitOption,
    TimeZoneOption,
)

if TYPE_CHECKING:
    from producers import replay as recording


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=DATA)(replay)


def replay(
    files: RecordingsArgument,
    *,
    pipeline: PipelineOption = None,
    columns: ColumnsOption = None,
    key_columns: KeyColumnsOption = None,
    key: KeyOption = None,
    group: GroupOption = None,
    topology: RecordedTopologyOption = None,
    mapping: MappingOption = None,
    query: QueryOption = None,
    sheet: SheetOption = None,
    time_format: TimeFormatOption = None,
    time_unit: TimeUnitOption = None,
    time_zone: TimeZoneOption = None,
    dry_run: DryRunOption = False,
    start: StartOption = None,
    speed: RecordingSpeedOption = 1.0,
    rate: RateOption = None,
    as_fast_as_possible: AsFastAsPossibleOption = False,
    every: ReplayEveryOption = None,
    skip_bad: SkipBadOption = False,
    resume: ResumeOption = False,
    state: StateOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish recorded files in order of event time.

    A column is matched by the field's name or one of its Avro aliases; sensors without a column are missing. If times
    count from a start, the recording begins at --start, or ends now. With a schema registry, values are in Confluent's
    wire format, otherwise in Avro's single-object encoding. docs/recordings.md describes what is read.

    Example: hazardstream replay recording.csv --columns ts=time_s --key-columns site,device --as-fast-as-possible
    """
    require_extras("replay")
    from producers.recordings.mapping import parse_mapping
    from producers.replay import ReplayOptions
    from producers.replay_pace import Pace
    from worker.config.settings import load_settings

    if as_fast_as_possible + (rate is not None) + (speed != 1.0) > 1:
        raise UserError("--speed, --rate and --as-fast-as-possible exclude each other; give only one")
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    times = {"time_format": time_format, "time_unit": time_unit, "time_zone": time_zone}
    others = {"key": key, "sheet": sheet, "start_ms": iso_ms("--start", start)} | times
    options = ReplayOptions(
        paths=files,
        pipeline=settings.pipeline,
        mapping=parse_mapping(columns, key_columns, group, topology, file=mapping, query=query, **others),
        pace=Pace(None if as_fast_as_possible else speed, rate),
        every_ms=None if every is None else round(every * 1000),
        skip_bad=skip_bad,
        resume=resume,
        state=state,
        bootstrap=settings.bootstrap_servers,
        registry=settings.registry_url,
    )
    _run(options, dry_run=dry_run, as_json=as_json)


def _run(options: "recording.ReplayOptions", *, dry_run: bool, as_json: bool) -> None:
    from producers import replay as recorded
    from producers.recordings.understanding import as_lines

    if dry_run:
        understood = recorded.dry_run(options)
        say(strict_json(understood) if as_json else "\n".join(as_lines(understood)))
        return
    with stop_on_signals() as stop, progress_bar(as_json) as bar:
        task = bar.add_task("", total=None, label="readings")
        summary = recorded.replay(
            options,
            lambda done, total: bar.update(task, completed=done, total=total),
            stop,
            lambda understood: None if as_json else say("\n".join(as_lines(understood)), err=True),
        )
    say(strict_json(asdict(summary)) if as_json else _summary_text(summary))
    if not summary.completed:
        say("interrupted; continue with the same command and --resume", err=True)
        raise typer.Exit(INTERRUPTED)


def _summary_text(summary: "recording.ReplaySummary") -> str:
    first = (
        f"published {summary.produced:,} readings of {summary.keys} keys in {summary.seconds:g} s "
        f"({summary.rate:g}/s); {summary.resumed_at:,} of {summary.readings:,} were delivered before"
    )
    lines = [first, *(f"skipped {row}" for row in summary.skipped_rows)]
    if more := summary.skipped - len(summary.skipped_rows):
        lines.append(f"skipped {more} more")
    return "\n".join(lines)
