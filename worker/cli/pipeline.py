"""The `hazardstream pipeline` commands: make, check, test and show a pipeline folder without a broker."""

from typing import Annotated

import typer

from common.cli_options import JsonOption, PipelineOption, RegistryOption
from common.json_text import strict_json
from common.terminal import say
from worker.cli.folder_argument import FolderArgument, chosen
from worker.cli.pipeline_fixtures import run_tests
from worker.cli.pipeline_init import init

app = typer.Typer(help="Make, check, test and show a pipeline folder. No broker is needed.", no_args_is_help=True)
app.command()(init)

ModelOption = Annotated[str | None, typer.Option(help="Model in place of the pipeline's.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Ask neither the schema registry nor MLflow.")]


@app.command()
def check(
    folder: FolderArgument = None,
    pipeline: PipelineOption = None,
    registry: RegistryOption = None,
    model: ModelOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find every fault of a pipeline that could stop a worker, with file, line and fix.

    The pipeline file, its schemas and its features are checked here. What the schema registry says of the schemas, and
    whether the model suits the pipeline, is checked where they can be reached. Exit code 1 if there is a fault.

    Example: hazardstream pipeline check pipelines/mine
    """
    from worker.cli.findings import report
    from worker.cli.pipeline_check import findings
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=chosen(folder, pipeline), registry_url=registry, model=model)
    if not report(list(findings(settings, offline=offline)), as_json=as_json):
        raise typer.Exit(1)


app.command("test")(run_tests)


@app.command()
def show(
    folder: FolderArgument = None,
    pipeline: PipelineOption = None,
    model: ModelOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print a pipeline with all defaults: fields, features, model, topics, policies; with --json derived schemas too.

    Example: hazardstream pipeline show pipelines/mine --json
    """
    from common.terminal import terminal
    from worker.cli.pipeline_show import as_tables, resolved
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=chosen(folder, pipeline), model=model)
    found = resolved(load_pipeline(settings.pipeline), settings, offline=offline)
    if as_json:
        say(strict_json(found))
    else:
        terminal(soft_wrap=True).print(as_tables(found))


@app.command()
def schema() -> None:
    """Print the JSON Schema of pipeline files, by which editors complete and check them.

    Example: hazardstream pipeline schema > pipeline.schema.json
    """
    import json

    from worker.config.json_schema import pipeline_json_schema

    say(json.dumps(pipeline_json_schema(), indent=2, ensure_ascii=False))
