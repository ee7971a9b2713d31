"""The `model register` command: puts a model into the registry."""

from typing import Annotated

import typer

from common.cli_options import JsonOption, PipelineOption, TrackingUriOption
from common.extras import require_extras
from common.json_text import strict_json
from common.terminal import say
from worker.cli.model import app as model_app

CHAMPION = "champion"


def register(_app: typer.Typer) -> None:
    """Add the command to the program's `model` commands."""
    model_app.command("register")(register_model)


def register_model(
    model: Annotated[
        str | None,
        typer.Argument(help="Directory, exported file or URI. Default: the model in the pipeline's folder."),
    ] = None,
    pipeline: PipelineOption = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="Alias to move to this model. Default: champion if there is none yet, otherwise no alias moves."
        ),
    ] = None,
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing if the alias exists already.")] = False,
    tracking_uri: TrackingUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model package and register it in MLflow under its own name, unless it is there already.

    Workers follow the alias champion. It moves only if you ask for it with --alias champion, or if there is none.

    Example: hazardstream model register champion.hazardmodel --alias challenger
    """
    from worker.admission.source import resolve_by_settings
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.formats import require_package

    require_extras("training")
    from training.registry.register import (
        point_alias,
        refuse_bad_alias,
        register_package,
        version_behind,
        version_of,
    )

    settings = load_settings(pipeline=pipeline, tracking_uri=tracking_uri)
    loaded, store = load_pipeline(settings.pipeline), settings.tracking_uri
    found = resolve_by_settings(settings, model or str(loaded.shipped_model), loaded)
    package = require_package(found, "`hazardstream model register`")
    target = alias or CHAMPION
    refuse_bad_alias(target)
    behind = version_behind(package.name, target, tracking_uri=store)
    if if_none and behind is not None:
        _show(package.name, behind, target, behind, registered=False, as_json=as_json)
        return
    moves = target if alias is not None or behind is None else None
    known = version_of(package.name, package.digest, tracking_uri=store)
    if known is None:
        version = register_package(package.origin, alias=moves, tracking_uri=store).version
    else:
        version = known
        if moves is not None and behind != known:
            point_alias(package.name, moves, known, tracking_uri=store)
    now = version if moves is not None else behind
    _show(package.name, version, target, now, registered=known is None, as_json=as_json)


def _show(name: str, version: str, alias: str, behind: str | None, *, registered: bool, as_json: bool) -> None:
    """Print which version the package is, and to which one the alias points."""
    if as_json:
        points = alias if behind == version else None
        say(strict_json({"name": name, "version": version, "alias": points, "registered": registered}))
        return
    say(f"{name} version {version} is {'registered' if registered else 'this package, registered before'}")
    if behind == version:
        say(f"{name}@{alias} points to version {version}")
    else:
        say(f"{name}@{alias} stays at version {behind}; to move it: --alias {alias}")
