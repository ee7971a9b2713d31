"""Commands that publish: simulate and replay."""

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from common.cli_options import iso_ms
from common.errors import UserError
from common.logs import configure_logs
from common.terminal import say, terminal
from producers.options import (
    AsFastAsPossibleOption,
    BadRateOption,
    ColumnsOption,
    DurationOption,
    EventSpeedOption,
    FaultsOption,
    KeyColumnsOption,
    MechanismOption,
    ModulesOption,
    NuisancesOption,
    PeriodOption,
    PublishBootstrapOption,
    PublishPipelineOption,
    PublishRegistryOption,
    RackOption,
    RateOption,
    RecordedTopologyOption,
    RecordingSpeedOption,
    ResumeOption,
    SeedOption,
    SkipBadOption,
    StartOption,
    StateOption,
    SummaryJsonOption,
)

if TYPE_CHECKING:
    from pipelines.battery_hazard.simulator import live as simulation
    from producers import replay as recording

_INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(simulate)
    app.command()(replay)


def simulate(
    *,
    pipeline: PublishPipelineOption = "battery_hazard",
    modules: ModulesOption = 64,
    seed: SeedOption = 0,
    faults: FaultsOption = 0,
    mechanism: MechanismOption = None,
    nuisances: NuisancesOption = 0.0,
    speed: EventSpeedOption = 1.0,
    duration: DurationOption = None,
    period_s: PeriodOption = 10.0,
    start: StartOption = None,
    bad_rate: BadRateOption = 0.0,
    bootstrap: PublishBootstrapOption = None,
    registry: PublishRegistryOption = None,
    as_json: SummaryJsonOption = False,
) -> None:
    """Publish a simulated fleet of battery modules, live.

    Event time never passes the wall clock, as workers refuse readings from the future: with --duration D and --speed S
    the first reading lies D*(S-1) seconds in the past, so that the run ends now. A run without end that is
    faster than the clock needs --start, and slows down once it has caught up.

    Example: hazardstream simulate --modules 64 --faults 3 --speed 60 --duration 60
    """
    from pipelines.battery_hazard.simulator import live

    options = live.SimulateOptions(
        pipeline=pipeline,
        modules=modules,
        seed=seed,
        faults=faults,
        speed=speed,
        duration_s=duration,
        period_ms=round(period_s * 1000),
        start_ms=iso_ms("--start", start),
        bad_rate=bad_rate,
        mechanisms=_mechanisms(mechanism),
        nuisances=nuisances,
        bootstrap=bootstrap,
        registry=registry,
    )
    configure_logs("warning")
    with _stop_on_signals() as stop, _bar(as_json) as bar:
        task = bar.add_task("", total=None if duration is None else round(duration), label="simulating")

        def show(summary: live.Summary) -> None:
            bar.update(task, completed=round(summary.seconds), label=f"{summary.produced:,} messages")

        summary = live.simulate(options, show, stop)
    if as_json:
        say(json.dumps(asdict(summary)))
    else:
        _print_simulation(summary)


def _mechanisms(names: str | None) -> tuple[str, ...]:
    from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS

    wanted = tuple(part.strip() for part in names.split(",")) if names else MECHANISMS
    if unknown := set(wanted) - set(MECHANISMS):
        raise UserError(f"--mechanism: no mechanism {', '.join(sorted(unknown))}; there are {', '.join(MECHANISMS)}")
    return wanted


def _print_simulation(summary: "simulation.Summary") -> None:
    say(
        f"published {summary.produced:,} messages in {summary.seconds:g} s ({summary.rate:g}/s): "
        f"{summary.readings:,} readings of {summary.modules} modules, {summary.duplicates} duplicates, "
        f"{sum(summary.bad.values())} bad"
    )
    for fault in summary.fault_truth:
        at = datetime.fromtimestamp(fault["no_return_ts"] / 1000, UTC).isoformat(timespec="seconds")
        say(f"fault: {fault['module_id']}, {fault['mechanism']}, point of no return {at}")


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
    with _stop_on_signals() as stop, _bar(as_json) as bar:
        task = bar.add_task("", total=None, label="readings")
        summary = recorded.replay(options, lambda done, total: bar.update(task, completed=done, total=total), stop)
    if as_json:
        say(json.dumps(asdict(summary)))
    else:
        _print_replay(summary)
    if not summary.completed:
        say("interrupted; go on with the same command and --resume", err=True)
        raise typer.Exit(_INTERRUPTED)


def _print_replay(summary: "recording.Summary") -> None:
    say(
        f"published {summary.produced:,} readings of {summary.modules} modules in {summary.seconds:g} s "
        f"({summary.rate:g}/s); {summary.resumed_at:,} of {summary.readings:,} were delivered before"
    )
    for row in summary.skipped_rows:
        say(f"skipped {row}")
    if summary.skipped > len(summary.skipped_rows):
        say(f"skipped {summary.skipped - len(summary.skipped_rows)} more")


def _bar(as_json: bool) -> Progress:
    console = terminal(stderr=True)
    return Progress(
        TextColumn("{task.fields[label]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=as_json or not console.is_terminal,
    )


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one does what it always does."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield stop
    finally:
        restore()
