"""The command that runs the fixtures of a pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from common.cli_options import JsonOption, PipelineOption, TrackingUriOption
from common.json_text import strict_json
from common.terminal import say
from worker.cli.folder_argument import FolderArgument, chosen


def run_tests(
    folder: FolderArgument = None,
    pipeline: PipelineOption = None,
    file: Annotated[
        Path | None, typer.Option(help="Fixtures, YAML or JSON. Default: tests.yaml in the pipeline's folder.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model to test with. Default: the pipeline's model.")] = None,
    tracking_uri: TrackingUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline's fixtures through the worker's own stages, without a broker. Exit code 1 if one fails.

    Example: hazardstream pipeline test pumps
    """
    from worker.admission.source import resolve_by_settings
    from worker.authoring.fixtures import FILE_NAME, read_fixtures, run_fixtures
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings

    settings = load_settings(pipeline=chosen(folder, pipeline), model=model, tracking_uri=tracking_uri)
    loaded = load_pipeline(settings.pipeline)
    fixtures = read_fixtures(file or loaded.folder / FILE_NAME)
    package = resolve_by_settings(settings, settings.model_uri(loaded.model), loaded)
    failed: dict[str, list[str]] = {}
    for tested in run_fixtures(loaded, package, fixtures):
        say(f"{'FAILED' if tested.differences else 'ok    '} {tested.name}")
        for difference in tested.differences:
            say(f"       {difference}")
        if tested.differences:
            failed[tested.name] = tested.differences
    passed = len(fixtures.tests) - len(failed)
    say(f"{passed} passed, {len(failed)} failed")
    if as_json:
        say(strict_json({"passed": passed, "failed": failed}))
    if failed:
        raise typer.Exit(1)
