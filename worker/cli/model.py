"""The `hazardstream model` commands for exported files; pipelines and training add more."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.cli_options import JsonOption, PipelineOption
from common.errors import UserError
from common.json_text import strict_json
from common.terminal import say, terminal
from worker.cli.model_view import summary

if TYPE_CHECKING:
    from worker.model.archive import Archive

app = typer.Typer(help="Register models, and carry them in a file to sites without MLflow.", no_args_is_help=True)
ModelArgument = Annotated[
    str,
    typer.Argument(
        help="File written by `hazardstream model export`, a directory, or a URI such as models:/NAME@champion."
    ),
]


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
    from worker.model.formats import require_package

    settings = load_settings(pipeline=pipeline, model=model)
    uri = settings.model_uri(load_pipeline(settings.pipeline).model)
    package = require_package(resolve_by_settings(settings, uri), "`hazardstream model export`")
    try:
        pack(package, uri, output)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error}; name another file") from error
    _show_archive(output, read_archive(output), as_json=as_json)


@app.command()
def info(
    model: ModelArgument,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a model is: name, version, digest, task, columns, metrics. With --json all that is known.

    A file or a directory is not loaded; `hazardstream model verify` checks that it works. A model in MLflow is
    downloaded and checked.

    Example: hazardstream model info champion.hazardmodel
    """
    from worker.admission.in_use import described, described_files
    from worker.admission.source import resolve_by_settings
    from worker.config.settings import load_settings
    from worker.model.archive import read_archive
    from worker.model.model_files import is_model, read_model_files
    from worker.model.package_files import MANIFEST

    path = Path(model)
    if path.is_file():
        _show_archive(path, read_archive(path), as_json=as_json)
    elif is_model(path) and not (path / MANIFEST).is_file():
        _show({"directory": model} | described_files(read_model_files(path, path.resolve().name)), as_json=as_json)
    else:
        settings = load_settings(pipeline=pipeline)
        _show({"model": model} | described(resolve_by_settings(settings, model)), as_json=as_json)


@app.command()
def verify(
    model: ModelArgument,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 of the file, as `export` printed it.")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a model as a worker does before it uses it: digests, types, speed, records of the pipeline.

    No code in an exported file runs, whatever HAZARDSTREAM_MODEL_TRUST says. Any other model that is code runs only if
    that setting, or the pipeline file, trusts it.
    Without --sha256, a file is complete, but anyone may have written it.

    Example: hazardstream model verify champion.hazardmodel --sha256 2f6c…
    """
    from worker.admission.admit import Demands, admit
    from worker.admission.in_use import described
    from worker.admission.source import resolve_by_settings
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.model.archive import read_archive

    settings, path = load_settings(pipeline=pipeline), Path(model)
    loaded = load_pipeline(settings.pipeline)
    if not path.is_file():
        if sha256 is not None:
            raise UserError(f"--sha256 is of an exported file, and {model} is none")
        found = resolve_by_settings(settings, model, loaded)
        _show({"model": model} | described(found) | {"verified": True}, as_json=as_json)
        return
    archive = read_archive(path)
    if sha256 is not None and sha256.lower() != archive.sha256:
        raise UserError(f"{path} has the SHA-256 {archive.sha256}, not {sha256}: it is not the exported file")
    demands = Demands(loaded, settings.model_max_ms)
    admit(archive.contents, archive.metadata.version, demands, settings.cache_directory)
    _show_archive(path, archive, as_json=as_json, verified=True)


def _show_archive(file: Path, archive: "Archive", *, as_json: bool, **more: Any) -> None:
    from worker.model.package import read_features, read_metrics

    contents, metadata = archive.contents, archive.metadata
    facts = {"file": str(file), "sha256": archive.sha256} | more
    facts |= {
        "name": contents.manifest.name,
        "version": metadata.version,
        "source": metadata.source,
        "trained_at": contents.manifest.created_at,
        "manifest_sha256": contents.digest,
        "libraries": contents.manifest.libraries,
        "features": read_features(contents).names,
        "metrics": read_metrics(contents),
    }
    _show(facts, as_json=as_json)


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    for line in [strict_json(facts)] if as_json else summary(facts, terminal().width):
        say(line)
