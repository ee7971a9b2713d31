"""The `model register` command: puts a model into the registry."""

from typing import Annotated

import typer

from common.cli_options import JsonOption, PipelineOption, TrackingUriOption
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say
from worker.cli.model import app as model_app


def register(_app: typer.Typer) -> None:
    """Add the command to the program's `model` commands."""
    model_app.command("register")(register_model)


def register_model(
    model: Annotated[
        str | None,
        typer.Argument(help="Directory, exported file or URI. Default: the model in the pipeline's folder."),
    ] = None,
    pipeline: PipelineOption = None,
    alias: Annotated[str, typer.Option(help="Alias that moves to the new version.")] = "champion",
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing if the alias exists already.")] = False,
    tracking_uri: TrackingUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model package, register it in MLflow under its own name, and move an alias to it.

    Example: hazardstream model register champion.hazardmodel --alias challenger
    """
    from worker.admission.source import resolve_by_settings
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.formats import require_package

    require_extras("training")
    from training.registry.register import register_package, version_behind

    settings = load_settings(pipeline=pipeline, tracking_uri=tracking_uri)
    loaded, store = load_pipeline(settings.pipeline), settings.tracking_uri
    found = resolve_by_settings(settings, model or str(loaded.shipped_model), loaded)
    package = require_package(found, "`hazardstream model register`")
    known = version_behind(package.name, alias, tracking_uri=store) if if_none else None
    version = known or register_package(package.origin, alias=alias, tracking_uri=store).version
    if as_json:
        say(strict_json({"name": package.name, "version": version, "alias": alias, "registered": not known}))
    else:
        say(f"{package.name}@{alias} {'already points to' if known else 'points to'} version {version}")
