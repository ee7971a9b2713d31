"""The `hazardstream pipeline` commands."""

import typer

from worker.cli.pipeline_fixtures import run_tests
from worker.cli.pipeline_init import init

app = typer.Typer(help="Make, check and test pipelines.", no_args_is_help=True)
app.command()(init)
app.command("test")(run_tests)
