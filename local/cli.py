"""The commands `demo` and `run`, which run everything on this machine."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from common.cli_options import RUN, JsonOption
from common.errors import UserError
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say, terminal


def register(app: typer.Typer) -> None:
    """Add the commands to the main command."""
    app.command(rich_help_panel=RUN)(demo)
    app.command(rich_help_panel=RUN)(run)


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
    require_extras("local")
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


def run(
    name: Annotated[str, typer.Argument(help="absenteeism, churn, housing or tabular.")],
    data: Annotated[
        Path | None, typer.Option(help="File of rows of your own, in the form of the published ones.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and generated rows.")] = 0,
    tries: Annotated[int | None, typer.Option(min=1, help="Parameter sets to try for each candidate.")] = None,
) -> None:
    """Train, start, replay and check a shipped example pipeline: Kafka, MLflow and a worker on this machine.

    Nothing needs to be installed or running. The last line is one JSON object: how many records were scored, are
    missing, doubled, or differ from what the model itself predicts for the same rows; and the model's metrics.

    Example: hazardstream run absenteeism
    """
    import structlog

    require_extras("local", "training")
    from local.examples import EXAMPLES
    from local.run_pipeline import RunOptions, run_pipeline

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if name not in EXAMPLES:
        raise UserError(f"there is no pipeline {name!r} to run; name one of {', '.join(EXAMPLES)}")
    result = run_pipeline(EXAMPLES[name], RunOptions(data, seed, tries), terminal(stderr=True))
    say(strict_json(result))
    if wrong := {what: result[what] for what in ("missing", "duplicates", "differing") if result[what]}:
        raise UserError(f"{name}: {wrong}: this is a defect")
