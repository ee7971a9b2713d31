"""The command that makes the folder of a new pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from common.cli_options import RegistryOption, TrackingUriOption
from common.errors import UserError
from common.terminal import say

_NAME = "INPUT=FIELD"


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make. Its name becomes the pipeline's.")],
    schema: Annotated[
        str, typer.Option(help="Avro schema of the input's values: an .avsc file, or a subject in the registry.")
    ],
    model: Annotated[str, typer.Option(help="Model, named as for `hazardstream worker`.")],
    topic: Annotated[
        str | None, typer.Option(help="Input topic; outputs are named after it. Default: the folder's name.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Field that says what a record is about.")] = None,
    group: Annotated[str | None, typer.Option(help="Field that says what the key belongs to.")] = None,
    time: Annotated[str | None, typer.Option(help="Field with the event time.")] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar=_NAME, help="An input of the model that has another name in the record; repeatable."),
    ] = None,
    registry: RegistryOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Make a pipeline folder that runs, from an Avro schema and a model.

    Example: hazardstream pipeline init pumps --schema Pump.avsc --model models:/pumps@champion
    """
    from schemas.registry import registry_at
    from worker.admission.source import resolve_by_settings
    from worker.authoring.new_folder import Wanted, folder_name, input_schema, make_folder
    from worker.config.settings import load_settings

    settings = load_settings(registry_url=registry, tracking_uri=tracking_uri)
    # The folder must also run where this setting is absent.
    trust = settings.model_trust
    wanted = Wanted(folder, model, topic or folder_name(folder), _fields(field or []), key, group, time, trust)
    record = input_schema(schema, registry_at(settings.registry_url))
    files = make_folder(wanted, record, resolve_by_settings(settings, model), settings.model_max_ms)
    for file in files:
        say(f"wrote {file}")
    say(f"next: hazardstream pipeline test {folder}; hazardstream worker --pipeline {folder}")


def _fields(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if repeated := {name for name, _, _ in pairs if [n for n, _, _ in pairs].count(name) > 1}:
        raise UserError(f"--field names {', '.join(sorted(repeated))} more than once; give each input one field")
    for (name, equals, in_record), text in zip(pairs, given, strict=True):
        if not (name and equals and in_record):
            raise UserError(f"--field {text!r} is not {_NAME}")
    return {name: in_record for name, _, in_record in pairs}
