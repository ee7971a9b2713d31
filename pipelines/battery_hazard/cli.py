"""The `simulate` command: publishes a simulated fleet."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import DATA, BootstrapOption, JsonOption, PipelineOption, RegistryOption, iso_ms
from common.errors import UserError
from common.json_text import strict_json
from common.progress import progress_bar, stop_on_signals
from common.terminal import say
from common.times import iso_utc
from producers.options import StartOption

if TYPE_CHECKING:
    from pipelines.battery_hazard.simulator import live as simulation

ModulesOption = Annotated[int, typer.Option(help="Number of modules, in racks of 8.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same fleet and readings.")]
FaultsOption = Annotated[
    int, typer.Option(help="Number of modules that develop a thermal runaway, spread over the run.")
]
MechanismOption = Annotated[
    str | None,
    typer.Option(
        help="Mechanisms of faults, separated by commas: internal_short, hard_short, sudden_short, overcharge, "
        "external_heating, cooling_failure, propagation (neighbours catch fire). Default: all."
    ),
]
NuisancesOption = Annotated[
    float,
    typer.Option(
        help="Expected number per module-day of events that look like a hazard but are not: heat waves, soft shorts, "
        "gas from elsewhere, failing sensors and more."
    ),
]
ModuleTopologyOption = Annotated[
    str | None,
    typer.Option(
        help="PARAMETER=VALUE,…: how modules are built, such as chemistry=lfp,cells_in_series=16,capacity_ah=280. The "
        "topology of the pipeline file must say the same. Only nmc has faults. Default: 14 cells, 100 Ah, nmc."
    ),
]
EventSpeedOption = Annotated[float, typer.Option(help="Ratio of event time to wall-clock time.")]
DurationOption = Annotated[float | None, typer.Option(help="Wall-clock seconds. Default: until stopped.")]
PeriodOption = Annotated[float, typer.Option(help="Seconds of event time between two readings of a module.")]
BadRateOption = Annotated[
    float,
    typer.Option(
        help="Share of readings that are followed by a bad record: random bytes, truncated, NaN or infinite, "
        "out of range, wrong key, null value, in the future, late, duplicate."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=DATA)(simulate)


def simulate(
    *,
    pipeline: PipelineOption = None,
    modules: ModulesOption = 64,
    seed: SeedOption = 0,
    faults: FaultsOption = 0,
    mechanism: MechanismOption = None,
    nuisances: NuisancesOption = 0.0,
    topology: ModuleTopologyOption = None,
    speed: EventSpeedOption = 1.0,
    duration: DurationOption = None,
    period_s: PeriodOption = 10.0,
    start: StartOption = None,
    bad_rate: BadRateOption = 0.0,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a simulated fleet of battery modules, live.

    Event time never passes the wall clock, because workers reject readings from the future. With --duration D and
    --speed S, the first reading is D*(S-1) seconds in the past, so that the run ends now. An endless run that is
    faster than the clock needs --start, and slows down once it has caught up. Without --start, a run goes on after the
    readings that the topic has of the same modules.

    Example: hazardstream simulate --modules 64 --faults 3 --speed 60 --duration 60
    """
    from pipelines.battery_hazard.simulator import live
    from producers.recordings.mapping import parse_topology
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    options = live.SimulateOptions(
        pipeline=settings.pipeline,
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
        topology=parse_topology(topology) if topology else {},
        bootstrap=settings.bootstrap_servers,
        registry=settings.registry_url,
    )
    with stop_on_signals() as stop, progress_bar(as_json) as bar:
        task = bar.add_task("", total=None if duration is None else round(duration), label="simulating")

        def show(summary: live.SimulationSummary) -> None:
            bar.update(task, completed=round(summary.seconds), label=f"{summary.produced:,} messages")

        summary = live.simulate(options, show, stop, partial(bar.console.print, soft_wrap=True))
    if as_json:
        say(strict_json(asdict(summary)))
    else:
        _print_simulation(summary)


def _mechanisms(names: str | None) -> tuple[str, ...]:
    from pipelines.battery_hazard.simulator.events.ground_truth import MECHANISMS

    wanted = tuple(part.strip() for part in names.split(",")) if names else MECHANISMS
    if unknown := set(wanted) - set(MECHANISMS):
        raise UserError(f"--mechanism: unknown {', '.join(sorted(unknown))}; use {', '.join(MECHANISMS)}")
    return wanted


def _print_simulation(summary: "simulation.SimulationSummary") -> None:
    say(
        f"published {summary.produced:,} messages in {summary.seconds:g} s ({summary.rate:g}/s): "
        f"{summary.readings:,} readings of {summary.modules} modules, {summary.duplicates} duplicates, "
        f"{sum(summary.bad.values())} bad" + (f", about {summary.late:,} late" if summary.late else "")
    )
    for fault in summary.fault_truth:
        at = iso_utc(fault["no_return_ts"])
        say(f"fault: {fault['module_id']}, {fault['mechanism']}, point of no return {at}")
