"""The command that publishes a recording."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import DATA, BootstrapOption, JsonOption, PipelineOption, RegistryOption, iso_ms
from common.errors import UserError
from common.json_text import strict_json
from common.progress import INTERRUPTED, progress_bar, stop_on_signals
from common.terminal import say
from producers.options import (
    AsFastAsPossibleOption,
    ColumnsOption,
    GroupOption,
    KeyColumnsOption,
    RateOption,
    RecordedTopologyOption,
    RecordingSpeedOption,
    ResumeOption,
    SkipBadOption,
    StartOption,
    StateOption,
)

if TYPE_CHECKING:
    from producers import replay as recording


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=DATA)(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
    *,
    pipeline: PipelineOption = None,
    columns: ColumnsOption = None,
    key_columns: KeyColumnsOption = None,
    group: GroupOption = None,
    topology: RecordedTopologyOption = None,
    start: StartOption = None,
    speed: RecordingSpeedOption = 1.0,
    rate: RateOption = None,
    as_fast_as_possible: AsFastAsPossibleOption = False,
    skip_bad: SkipBadOption = False,
    resume: ResumeOption = False,
    state: StateOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a recorded file in order of event time.

    A column is matched by the field's name or one of its Avro aliases; sensors without a column are missing. Times may
    be ISO 8601, seconds or milliseconds since 1970, or seconds from the start. In the last case the recording begins
    at --start, or ends now. With a schema registry, values are in Confluent's wire format, otherwise in Avro's
    single-object encoding.

    Example: hazardstream replay recording.csv --columns ts=time_s --key-columns site,device --as-fast-as-possible
    """
    try:
        from producers import replay as recorded
        from producers.recordings import mapping
    except ModuleNotFoundError as error:
        raise UserError(f"replay needs {error.name}; install it with: pip install 'hazardstream[replay]'") from error

    from worker.config.settings import load_settings

    if as_fast_as_possible + (rate is not None) + (speed != 1.0) > 1:
        raise UserError("--speed, --rate and --as-fast-as-possible exclude each other; give only one")
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    options = recorded.ReplayOptions(
        path=file,
        pipeline=settings.pipeline,
        mapping=mapping.parse_mapping(columns, key_columns, group, topology, start_ms=iso_ms("--start", start)),
        speed=None if as_fast_as_possible else speed,
        rate=rate,
        skip_bad=skip_bad,
        resume=resume,
        state=state,
        bootstrap=settings.bootstrap_servers,
        registry=settings.registry_url,
    )
    with stop_on_signals() as stop, progress_bar(as_json) as bar:
        task = bar.add_task("", total=None, label="readings")
        summary = recorded.replay(options, lambda done, total: bar.update(task, completed=done, total=total), stop)
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
