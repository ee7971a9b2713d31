"""The `hazardstream model` commands: a model put into a registry, or carried in one file to where there is none."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.cli_options import JsonOption, PipelineOption
from common.errors import UserError
from common.terminal import say

if TYPE_CHECKING:
    from worker.model.archive import Metadata

app = typer.Typer(
    help="Register a model that is there already; carry one in a file, for sites without MLflow.", no_args_is_help=True
)
FileArgument = Annotated[Path, typer.Argument(help="File made by `hazardstream model export`.")]


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="File to write, such as battery_hazard-7.hazardmodel.")],
    model: Annotated[str | None, typer.Option(help="As of `hazardstream worker`. Default: the pipeline's.")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model, verified, into one file: what a worker needs, and what a person wants to know of it.

    The same version gives the same bytes. Carry the digest that is printed by another way than the file.

    Example: hazardstream model export champion.hazardmodel --model models:/battery_hazard@champion
    """
    from worker.admission.admit import demands_of
    from worker.admission.source import resolve
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.archive import pack
    from worker.model.package import digest

    settings = load_settings(pipeline=pipeline, model=model)
    uri = settings.model_uri(load_pipeline(settings.pipeline).model)
    package = resolve(
        uri,
        cache_directory=settings.cache_directory,
        tracking_uri=settings.tracking_uri,
        demands=demands_of(settings),
    )
    try:
        metadata = pack(package, uri, output)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error}; name another file") from error
    _tell({"file": str(output), "sha256": digest(output)}, metadata, as_json=as_json)


@app.command()
def info(file: FileArgument, as_json: JsonOption = False) -> None:
    """What a file says of its model. It is not verified: nothing of it is loaded.

    Example: hazardstream model info champion.hazardmodel
    """
    from worker.model.archive import read_metadata
    from worker.model.package import digest

    _tell({"file": str(file), "sha256": digest(_there(file))}, read_metadata(file), as_json=as_json)


@app.command()
def verify(
    file: FileArgument,
    sha256: Annotated[str | None, typer.Option(help="Digest that `export` printed.")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a file as a worker does: all digests, golden rows, speed, and rows of the pipeline's records.

    No code of the file runs, whatever HAZARDSTREAM_MODEL_TRUST says. Without --sha256 the check says that the file is
    whole, not who made it.

    Example: hazardstream model verify champion.hazardmodel --sha256 2f6c…
    """
    from worker.admission.admit import Demands, admit
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.archive import read_archive, require_its_own

    settings, archive = load_settings(pipeline=pipeline), read_archive(_there(file))
    if sha256 is not None and sha256.lower() != archive.sha256:
        raise UserError(f"{file} has the digest {archive.sha256}, not {sha256}: it is not the file that was exported")
    demands = Demands(load_pipeline(settings.pipeline), settings.model_max_ms)
    package = admit(archive.contents, archive.metadata.version, demands, settings.cache_directory)
    require_its_own(package, archive.metadata, file)
    _tell({"file": str(file), "sha256": archive.sha256, "verified": True}, archive.metadata, as_json=as_json)


def _there(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"there is no file {file}; make one with `hazardstream model export`")
    return file


def _tell(facts: dict[str, Any], metadata: "Metadata", *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(facts | metadata.model_dump()))
        return
    said = metadata.model_dump(include={"name", "version", "source", "trained_at", "manifest_sha256"})
    libraries = ", ".join(f"{name} {version}" for name, version in metadata.libraries.items())
    words = (
        facts | said | {"libraries": libraries, "features": f"{len(metadata.features)}: {', '.join(metadata.features)}"}
    )
    words |= {f"metrics.{name}": json.dumps(value) for name, value in metadata.metrics.items()}
    for name, value in words.items():  # whole, however narrow the terminal: a digest is to be copied
        say(f"{name:<18} {value}")
