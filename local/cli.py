"""The command `demo`, which runs everything on this machine."""

import logging
from typing import Annotated

import typer

from common.cli_options import RUN, JsonOption
from common.errors import UserError
from common.terminal import say, terminal


def register(app: typer.Typer) -> None:
    """Add the commands to the main command."""
    app.command(rich_help_panel=RUN)(demo)


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long the fleet runs.")] = 40,
    modules: Annotated[int, typer.Option(min=1, help="Modules in the fleet.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fleet and its faults.")] = 7,
    keep: Annotated[bool, typer.Option(help="Leave broker and worker running until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine: a Kafka broker, a model, a worker and a simulated fleet.

    Nothing needs to be installed or running. The fleet covers 90 minutes of event time in the given seconds.
    At the end, an independent consumer accounts for every record.

    Example: hazardstream demo --seconds 60 --modules 200
    """
    import structlog

    from local.demo import DemoOptions, run_demo

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    result = run_demo(DemoOptions(seconds, modules, seed, keep), terminal(stderr=as_json))
    if as_json:
        say(result.as_json())
    if result.audit.missing or (result.audit.duplicates and "mock" not in result.broker):
        raise UserError(
            f"{result.audit.missing} readings are missing and {result.audit.duplicates} duplicated: this is a defect"
        )
