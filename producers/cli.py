"""The command that publishes a recording."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import iso_ms
from common.errors import UserError
from common.logs import configure_logs
from common.progress import INTERRUPTED, progress_bar, stop_on_signals
from common.terminal import say
from producers.options import (
    AsFastAsPossibleOption,
    ColumnsOption,
    KeyColumnsOption,
    PublishBootstrapOption,
    PublishPipelineOption,
    PublishRegistryOption,
    RackOption,
    RateOption,
    RecordedTopologyOption,
    RecordingSpeedOption,
    ResumeOption,
    SkipBadOption,
    StartOption,
    StateOption,
    SummaryJsonOption,
)

if TYPE_CHECKING:
    from producers import replay as recording


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
    *,
    pipeline: PublishPipelineOption = "battery_hazard",
    columns: ColumnsOption = None,
    key_columns: KeyColumnsOption = None,
    rack: RackOption = None,
    topology: RecordedTopologyOption = None,
    start: StartOption = None,
    speed: RecordingSpeedOption = 1.0,
    rate: RateOption = None,
    as_fast_as_possible: AsFastAsPossibleOption = False,
    skip_bad: SkipBadOption = False,
    resume: ResumeOption = False,
    state: StateOption = None,
    bootstrap: PublishBootstrapOption = None,
    registry: PublishRegistryOption = None,
    as_json: SummaryJsonOption = False,
) -> None:
    """Publish a recorded file, in event-time order and at its own pace.

    Columns are found by our names or the older ones; sensors that are not there are missing. Times are ISO 8601,
    seconds or milliseconds since 1970, or seconds from the start: then the recording begins at --start, or ends now.

    Example: hazardstream replay R1.csv --columns ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C
    --key-columns test,run --topology cells_in_series=1,capacity_ah=2.6 --as-fast-as-possible
    """
    try:
        from producers import replay as recorded  # pandas and Kafka only when they are used
        from producers.recordings import mapping
    except ModuleNotFoundError as error:
        raise UserError(f"replay needs {error.name}; install it with: pip install 'hazardstream[replay]'") from error

    if as_fast_as_possible + (rate is not None) + (speed != 1.0) > 1:
        raise UserError("--speed, --rate and --as-fast-as-possible exclude each other; give one")
    options = recorded.ReplayOptions(
        path=file,
        pipeline=pipeline,
        mapping=mapping.parse_mapping(columns, key_columns, rack, topology, start_ms=iso_ms("--start", start)),
        speed=None if as_fast_as_possible else speed,
        rate=rate,
        skip_bad=skip_bad,
        resume=resume,
        state=state,
        bootstrap=bootstrap,
        registry=registry,
    )
    configure_logs("warning")
    with stop_on_signals() as stop, progress_bar(as_json) as bar:
        task = bar.add_task("", total=None, label="readings")
        summary = recorded.replay(options, lambda done, total: bar.update(task, completed=done, total=total), stop)
    if as_json:
        say(json.dumps(asdict(summary)))
    else:
        _print_replay(summary)
    if not summary.completed:
        say("interrupted; go on with the same command and --resume", err=True)
        raise typer.Exit(INTERRUPTED)


def _print_replay(summary: "recording.Summary") -> None:
    say(
        f"published {summary.produced:,} readings of {summary.modules} modules in {summary.seconds:g} s "
        f"({summary.rate:g}/s); {summary.resumed_at:,} of {summary.readings:,} were delivered before"
    )
    for row in summary.skipped_rows:
        say(f"skipped {row}")
    if summary.skipped > len(summary.skipped_rows):
        say(f"skipped {summary.skipped - len(summary.skipped_rows)} more")
