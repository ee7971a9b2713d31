"""The `hazardstream` command. Each package adds its own commands; what is heavy is imported when it runs."""

import os
import sys
from contextlib import suppress
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import local.cli
import pipelines.battery_hazard.cli
import pipelines.battery_hazard.training.cli
import pipelines.battery_hazard.training.retraining.cli
import pipelines.battery_hazard.training.study.cli
import pipelines.cli
import producers.cli
import serve.cli
import sink.cli
import training.backtest.cli
import training.monitoring.cli
import training.promotion.cli
import training.registry.cli
import worker.cli.commands
from common.environment import variable
from common.errors import DEPENDENCY_DOWN, USER_ERROR, DependencyDownError, UserError
from common.json_text import strict_json
from common.log_stream import open_standard_streams
from common.logs import command_logs
from common.terminal import give_up, say, terminal
from common.text import lines, shown
from local.flagship import FLAGSHIP
from worker.config.pipeline_file import FILE_NAME

_PIPELINE = "HAZARDSTREAM_PIPELINE"

app = typer.Typer(
    name="hazardstream",
    help="Exactly-once streaming scorer: sensor readings in, predictions and alarms out, on Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
worker.cli.commands.register(app)
serve.cli.register(app)
producers.cli.register(app)
sink.cli.register(app)
pipelines.battery_hazard.cli.register(app)
training.registry.cli.register(app)
pipelines.battery_hazard.training.cli.register(app)
pipelines.battery_hazard.training.study.cli.register(app)
training.backtest.cli.register(app)
training.monitoring.cli.register(app)
training.promotion.cli.register(app)
pipelines.battery_hazard.training.retraining.cli.register(app)
pipelines.cli.register(app)
local.cli.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"hazardstream {version('hazardstream')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Options of the program itself."""
    # The engine knows no pipeline by name. Which one is meant where none is given is decided here: that of the current
    # folder, or else the one that comes with the package.
    if variable(_PIPELINE) is None:
        os.environ[_PIPELINE] = "." if Path(FILE_NAME).is_file() else FLAGSHIP


def main() -> None:
    """Entry point. Mistakes of the user and unavailable services are reported without a traceback."""
    _prepare_terminal()
    try:
        app()
    except UserError as error:
        _report("error", str(error))
        sys.exit(USER_ERROR)
    except DependencyDownError as error:
        # A text with a semicolon ends with a remedy already.
        advice = "" if "; " in error.reason else "; check the address, or run `hazardstream doctor`"
        _report(f"{error.dependency} does not answer", f"{error.reason}{advice}", error.dependency)
        sys.exit(DEPENDENCY_DOWN)


def _report(what: str, text: str, dependency: str | None = None) -> None:
    """Print an error for people on standard error, and with --json one for programs on standard output."""
    line = Text.assemble((f"{shown(what)}: ", "bold red"), lines(text))
    try:
        terminal(stderr=True, soft_wrap=True).print(line)
    except OSError:  # a full disk: the exit code still reports it
        give_up("stderr")
    if "--json" in sys.argv:
        with suppress(UserError):
            say(strict_json({"error": f"{what}: {text}" if dependency else text, "dependency": dependency}))


def _prepare_terminal() -> None:
    """Escape characters that the streams cannot encode, whatever the locale."""
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not os.environ.get("TERMINAL_WIDTH", "0").isdecimal():
        del os.environ["TERMINAL_WIDTH"]  # Typer expects a number
    command_logs()  # services configure their own; structlog's default would write unescaped text
