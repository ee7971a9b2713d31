"""The `hazardstream model` commands for exported files; pipelines and training add more."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.cli_options import JsonOption, PipelineOption
from common.errors import UserError
from common.json_text import strict_json
from common.terminal import say

if TYPE_CHECKING:
    from worker.model.archive import Archive

app = typer.Typer(help="Register models, and carry them in a file to sites without MLflow.", no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(help="File written by `hazardstream model export`.")]


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="File to write, such as champion-7.hazardmodel.")],
    model: Annotated[
        str | None,
        typer.Option(help="Model to export, named as for `hazardstream worker`. Default: the pipeline's model."),
    ] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model into one file, from which a worker can run without MLflow.

    The same version gives the same bytes, so the printed SHA-256 identifies it.
    Send it separately, for `hazardstream model verify`.

    Example: hazardstream model export m.hazardmodel --model models:/NAME@champion
    """
    from worker.admission.source import resolve_by_settings
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.archive import pack, read_archive

    settings = load_settings(pipeline=pipeline, model=model)
    uri = settings.model_uri(load_pipeline(settings.pipeline).model)
    package = resolve_by_settings(settings, uri)
    try:
        pack(package, uri, output)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error}; name another file") from error
    _show(output, read_archive(output), as_json=as_json)


@app.command()
def info(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show which model a file holds. The model is not loaded; `hazardstream model verify` checks that it works.

    Example: hazardstream model info champion.hazardmodel
    """
    from worker.model.archive import read_archive

    _show(file, read_archive(_existing(file)), as_json=as_json)


@app.command()
def verify(
    file: FileArgument,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the file, as `export` printed it.")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file as a worker does before it uses a model: digests, golden rows, speed, records of the pipeline.

    No code in the file runs, whatever HAZARDSTREAM_MODEL_TRUST says.
    Without --sha256, the file is complete, but anyone may have written it.

    Example: hazardstream model verify champion.hazardmodel --sha256 2f6c…
    """
    from worker.admission.admit import Demands, admit
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.archive import read_archive

    settings, archive = load_settings(pipeline=pipeline), read_archive(_existing(file))
    if sha256 is not None and sha256.lower() != archive.sha256:
        raise UserError(f"{file} has the SHA-256 {archive.sha256}, not {sha256}: it is not the exported file")
    demands = Demands(load_pipeline(settings.pipeline), settings.model_max_ms)
    admit(archive.contents, archive.metadata.version, demands, settings.cache_directory)
    _show(file, archive, as_json=as_json, verified=True)


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"there is no file {file}; write one with `hazardstream model export`")
    return file


def _show(file: Path, archive: "Archive", *, as_json: bool, **more: Any) -> None:
    from worker.model.package import read_features, read_metrics

    contents, metadata = archive.contents, archive.metadata
    features, metrics = read_features(contents).names, read_metrics(contents)
    facts = {"file": str(file), "sha256": archive.sha256} | more
    facts |= {
        "name": contents.manifest.name,
        "version": metadata.version,
        "source": metadata.source,
        "trained_at": contents.manifest.created_at,
        "manifest_sha256": contents.digest,
    }
    if as_json:
        all_facts = {"libraries": contents.manifest.libraries, "features": features, "metrics": metrics}
        say(strict_json(facts | all_facts))
        return
    facts["libraries"] = ", ".join(f"{name} {version}" for name, version in contents.manifest.libraries.items())
    facts["features"] = f"{len(features)}: {', '.join(features)}"
    facts |= {f"metrics.{name}": json.dumps(value) for name, value in metrics.items()}
    for name, value in facts.items():  # not a table, which would wrap a digest in a narrow terminal
        say(f"{name:<18} {value}")
