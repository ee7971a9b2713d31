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
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.errors import UserError
from worker.logs import configure_logs
from worker.options import iso_ms
from worker.terminal import say, terminal

_INTERRUPTED = 130

Pipeline = Annotated[
    str,
    typer.Option(envvar="HAZARDSTREAM_PIPELINE", help="Name of a bundled pipeline, or the path of a pipeline file."),
]
Bootstrap = Annotated[
    str | None, typer.Option(help="Kafka brokers, HOST:PORT,….  [default: KAFKA_BOOTSTRAP_SERVERS, or 127.0.0.1:9092]")
]
Registry = Annotated[
    str | None,
    typer.Option(
        envvar="SCHEMA_REGISTRY_URL",
        help="Schema registry; then values are in Confluent's wire format, else in Avro's single-object encoding.",
    ),
]
Start = Annotated[
    str | None, typer.Option(help="Event time of the first reading, ISO 8601 (UTC unless it says otherwise).")
]
Columns = Annotated[
    str | None,
    typer.Option(help="OURS=THEIRS,… for columns of other names; a minus before THEIRS turns the sign."),
]
KeyColumns = Annotated[
    str | None, typer.Option(help='Columns whose values, joined by "/", are the module, as in test,run.')
]
Rack = Annotated[
    str | None, typer.Option(help="Rack of all rows of a file without such a column.  [default: the file's name]")
]
RecordedTopology = Annotated[
    str | None,
    typer.Option(
        help="How what was recorded is built, as in cells_in_series=1,capacity_ah=2.6. Voltage and current "
        "are then rescaled to the topology in the pipeline file, so that voltage per cell, C-rate and scores are "
        "the recording's."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object, the last line.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command()(simulate)
    app.command()(replay)


def simulate(
    *,
    pipeline: Pipeline = "battery_hazard",
    modules: Annotated[int, typer.Option(help="Modules in the fleet, in racks of 8.")] = 64,
    seed: Annotated[int, typer.Option(help="Same seed, same fleet and readings.")] = 0,
    faults: Annotated[int, typer.Option(help="How many modules develop a thermal runaway, spread over the run.")] = 0,
    mechanism: Annotated[
        str | None,
        typer.Option(
            help="What may begin a fault, with commas: internal_short, hard_short, overcharge, external_heating, "
            "cooling_failure, propagation (neighbours catch fire).  [default: all of them]"
        ),
    ] = None,
    nuisances: Annotated[
        float,
        typer.Option(
            help="Expected number a module-day of what looks like a hazard and is none: heat waves, soft shorts, gas "
            "from elsewhere, failing sensors and more."
        ),
    ] = 0.0,
    speed: Annotated[float, typer.Option(help="Event time over wall time.")] = 1.0,
    duration: Annotated[float | None, typer.Option(help="Wall-clock seconds; without it, until stopped.")] = None,
    period_s: Annotated[float, typer.Option(help="Event-time seconds between two readings of a module.")] = 10.0,
    start: Start = None,
    bad_rate: Annotated[
        float,
        typer.Option(
            help="Part of the readings to publish a bad record with: random bytes, truncated, NaN or infinite, out of "
            "range, wrong key, null value, from the future, late, duplicate."
        ),
    ] = 0.0,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    as_json: AsJson = False,
) -> None:
    """Publish a simulated fleet of battery modules, live.

    Event time never passes the wall clock, as workers refuse readings from the future: with --duration D and --speed S
    the first reading lies D*(S-1) seconds in the past, so that the run ends now. A run without end that is
    faster than the clock needs --start, and slows down once it has caught up.

    Example: hazardstream simulate --modules 64 --faults 3 --speed 60 --duration 60
    """
    from producers import simulate as live
    from producers.truth import MECHANISMS

    wanted = tuple(part.strip() for part in mechanism.split(",")) if mechanism else MECHANISMS
    if unknown := set(wanted) - set(MECHANISMS):
        raise UserError(f"--mechanism: no mechanism {', '.join(sorted(unknown))}; there are {', '.join(MECHANISMS)}")
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
        mechanisms=wanted,
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
        return
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
    pipeline: Pipeline = "battery_hazard",
    columns: Columns = None,
    key_columns: KeyColumns = None,
    rack: Rack = None,
    topology: RecordedTopology = None,
    start: Start = None,
    speed: Annotated[float, typer.Option(help="Factor on the recording's own pace.")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="Readings a second, instead of the recording's own pace.")] = None,
    as_fast_as_possible: Annotated[bool, typer.Option("--as-fast-as-possible", help="No pace at all.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows out and list them, instead of publishing nothing.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on after what an interrupted replay delivered. The last few readings may come twice; "
            "workers drop them.",
        ),
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="Where to note how far it got.  [default: in the user's state directory]")
    ] = None,
    bootstrap: Bootstrap = None,
    registry: Registry = None,
    as_json: AsJson = False,
) -> None:
    """Publish a recorded file, in event-time order and at its own pace.

    Columns are found by our names or the older ones; sensors that are not there are missing. Times are ISO 8601,
    seconds or milliseconds since 1970, or seconds from the start: then the recording begins at --start, or ends now.

    Example: hazardstream replay R1.csv --columns ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C
    --key-columns test,run --topology cells_in_series=1,capacity_ah=2.6 --as-fast-as-possible
    """
    try:
        from producers import mapping, replay as recorded  # noqa: I001 (pandas and Kafka only when they are used)
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
        say(
            f"published {summary.produced:,} readings of {summary.modules} modules in {summary.seconds:g} s "
            f"({summary.rate:g}/s); {summary.resumed_at:,} of {summary.readings:,} were delivered before"
        )
        for row in summary.skipped_rows:
            say(f"skipped {row}")
        if summary.skipped > len(summary.skipped_rows):
            say(f"skipped {summary.skipped - len(summary.skipped_rows)} more")
    if not summary.completed:
        say("interrupted; go on with the same command and --resume", err=True)
        raise typer.Exit(_INTERRUPTED)


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
