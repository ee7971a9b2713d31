"""The `serve` command."""

from typing import Annotated

import typer

from common.cli_options import RUN, BootstrapOption, PipelineOption, TrackingUriOption
from common.logs import configure_logs


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(rich_help_panel=RUN)(serve)


def serve(
    pipeline: PipelineOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model, named as for `hazardstream worker`. Default: the pipeline's model.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0: any free port. Default: 8000.")] = None,
    bootstrap: BootstrapOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Score over HTTP, with the validation, features and models of a worker.

    Needs no broker, except for a request log on a topic. It starts without a model and is ready once one is found.
    docs/serving.md describes requests, API keys, limits and all settings. The page /docs tries them out.

    Example: hazardstream serve --model models:/NAME@champion --port 8000
    """
    from serve.run import serve as run
    from serve.settings import ServeSettings
    from worker.config.settings import load_settings

    settings = load_settings(
        ServeSettings,
        pipeline=pipeline,
        model=model,
        serve_host=host,
        serve_port=port,
        bootstrap_servers=bootstrap,
        tracking_uri=tracking_uri,
    )
    configure_logs(settings.log_level)
    run(settings)
