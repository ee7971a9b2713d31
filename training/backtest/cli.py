"""The `backtest` command: runs recordings through a model and an alarm policy."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from common.cli_options import MODELS, JsonOption, PipelineOption
from common.errors import DependencyDownError, UserError
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal
from producers.options import (
    ColumnsOption,
    DryRunOption,
    GroupOption,
    KeyColumnsOption,
    KeyOption,
    MappingOption,
    QueryOption,
    RecordedTopologyOption,
    RecordingsArgument,
    SheetOption,
    TimeFormatOption,
    TimeUnitOption,
    TimeZoneOption,
)
from worker.config.alarm_section import overrides

if TYPE_CHECKING:
    from rich.console import Console

    from training.backtest.run import Backtest, BacktestOptions
    from worker.config.pipeline import Pipeline
    from worker.config.settings import Settings
    from worker.model.package import ModelPackage

BacktestModelOption = Annotated[
    str | None,
    typer.Option(
        help="models:/NAME@ALIAS, models:/NAME/VERSION, runs:/ID/PATH or a directory. Default: "
        "HAZARDSTREAM_MODEL, else the pipeline's model, else the one in the pipeline's folder."
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(help="Column that is 1 from the event on: its first 1 is the point of no return."),
]
EventsOption = Annotated[
    str | None,
    typer.Option(help="Times of events: KEY=TIME,… or a file with both columns. TIME as in the recording."),
]
HorizonOption = Annotated[
    float,
    typer.Option(min=0, help="An alarm at most this many seconds before an event, or after it, is no false alarm."),
]
EveryOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Keep one reading in each period of this many seconds, with the extreme of each sensor; 0 keeps all. "
        "Default: the period of a model that counts readings, for recordings with more readings than that.",
    ),
]
SetpointOption = Annotated[float | None, typer.Option(min=0, max=1, help="Setpoint, instead of the alarm policy's.")]
OnDelayOption = Annotated[float | None, typer.Option(min=0, help="On-delay in seconds, instead of the alarm policy's.")]
SweepOption = Annotated[
    bool, typer.Option(help="Whether to try other alarm policies on the same scores; --no-sweep is faster.")
]
OutputOption = Annotated[
    Path | None, typer.Option(help="Directory for plots (alarms.png, policies.png) and backtest.json.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=MODELS)(backtest)


def backtest(
    files: RecordingsArgument,
    *,
    model: BacktestModelOption = None,
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
    label_column: LabelColumnOption = None,
    events: EventsOption = None,
    horizon: HorizonOption = 7200,
    every: EveryOption = None,
    setpoint: SetpointOption = None,
    on_delay: OnDelayOption = None,
    sweep: SweepOption = True,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run recordings through the worker's own code, and compare its alarms with the events.

    A column is matched by the field's name or one of its Avro aliases; sensors without a column are missing.
    docs/recordings.md describes what is read, and docs/backtest.md the rest.

    Example: hazardstream backtest recording.csv --columns ts=time_s --key-columns site,device --output backtest
    """
    require_extras("training")
    from producers.recordings.files import files_in
    from producers.recordings.mapping import parse_mapping
    from producers.recordings.rescaling import built_as_recorded
    from training.backtest.run import BacktestOptions
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, model=model)
    others = {"time_format": time_format, "time_unit": time_unit, "time_zone": time_zone, "sheet": sheet, "key": key}
    said = parse_mapping(columns, key_columns, group, topology, file=mapping, query=query, **others)
    loaded = built_as_recorded(_with_alarm(load_pipeline(settings.pipeline), setpoint, on_delay), said.topology)
    options = BacktestOptions(
        paths=files_in(files),  # a wrong path is told before a model is looked for
        mapping=said,
        label_column=label_column,
        events=events,
        every_ms=None if every is None else round(every * 1000),
        horizon_ms=round(horizon * 1000),
        sweep=sweep,
    )
    if dry_run:
        _say_understood(options, settings, loaded, as_json=as_json)
    else:
        _backtest(options, settings, loaded, output, as_json=as_json)


def _say_understood(options: "BacktestOptions", settings: "Settings", pipeline: "Pipeline", *, as_json: bool) -> None:
    from producers.recordings.understanding import as_lines
    from training.backtest.dry_run import understood

    try:
        package, _ = _model(settings, pipeline)
    except (UserError, DependencyDownError) as error:  # files can be understood without a model
        terminal(stderr=True).print(f"no model is asked: {error}", markup=False, soft_wrap=True)
        package = None
    facts = understood(options, pipeline, package)
    say(strict_json(facts) if as_json else "\n".join(as_lines(facts)))


def _backtest(
    options: "BacktestOptions", settings: "Settings", pipeline: "Pipeline", output: Path | None, *, as_json: bool
) -> None:
    from training.backtest.report import as_json as facts
    from training.backtest.report import as_tables

    console = terminal(stderr=True)
    result, where = _run(options, settings, pipeline, console, quiet=as_json)
    line = strict_json(facts(result, where))
    if not as_json:
        terminal().print(as_tables(result, where))
    if output is not None:
        _write(result, line, output, console)
    if as_json:
        say(line)


def _with_alarm(pipeline: "Pipeline", setpoint: float | None, on_delay_s: float | None) -> "Pipeline":
    """The pipeline with the alarm policy of the command line."""
    changes = {"setpoint": setpoint, "on_delay_ms": None if on_delay_s is None else round(on_delay_s * 1000)}
    given = {name: value for name, value in changes.items() if value is not None}
    return pipeline.model_copy(update={"alarm": pipeline.alarm | given})


def _run(
    options: "BacktestOptions", settings: "Settings", pipeline: "Pipeline", console: "Console", *, quiet: bool
) -> tuple["Backtest", str]:
    """The result, and a description of the model."""
    from producers.recordings.understanding import as_lines
    from training.backtest.run import run_backtest

    package, where = _model(settings, pipeline)
    policy = package.policy.changed(overrides(pipeline.alarm))
    with _bar(console, quiet) as bar:
        task = bar.add_task("reading", total=None)
        result = run_backtest(
            options,
            pipeline,
            package,
            policy,
            lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total or None),
            lambda understood: (
                None
                if quiet
                else console.print("\n".join(as_lines(understood)), markup=False, highlight=False, soft_wrap=True)
            ),
        )
    return result, where


def _model(settings: "Settings", pipeline: "Pipeline") -> tuple["ModelPackage", str]:
    """The model, and which it is."""
    from training.registry.default_model import model_or_default
    from worker.admission.compatibility import require_fit

    console = terminal(stderr=True)
    package, where = model_or_default(settings, pipeline, lambda text: console.print(text, markup=False))
    require_fit(package, pipeline)
    return package, where


def _bar(console: "Console", as_json: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=as_json or not console.is_terminal,
        transient=True,
    )


def _write(result: "Backtest", line: str, output: Path, console: "Console") -> None:
    from training.backtest.plot import write_plots

    try:
        plots = write_plots(result, output)
        (output / "backtest.json").write_text(line + "\n")
    except OSError as error:
        raise UserError(f"--output {output} cannot be written ({error.strerror}); name another directory") from error
    console.print(f"written: {', '.join(map(str, plots))}, {output / 'backtest.json'}", markup=False)
