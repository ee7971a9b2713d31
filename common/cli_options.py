"""Options that several commands share, and how their values are parsed."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from common.errors import UserError

# The groups of commands that `hazardstream --help` shows.
RUN, OPERATE, DATA = "Make and run a pipeline", "Inspect and operate", "Publish and store data"
MODELS, MONITOR = "Models", "Monitor and improve"

PipelineOption = Annotated[
    str | None,
    typer.Option(
        help="A pipeline's folder, file or name. Default: HAZARDSTREAM_PIPELINE, this folder, or the shipped one."
    ),
]
BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap", help="Kafka brokers, host:port,… Default: KAFKA_BOOTSTRAP_SERVERS.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Schema registry URL. Default: SCHEMA_REGISTRY_URL, or none.")
]
TrackingUriOption = Annotated[
    str | None,
    typer.Option(help="MLflow server or store. Default: MLFLOW_TRACKING_URI, or a store in the user's data directory."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, on the last line.")]


def iso_ms(option: str, text: str | None) -> int | None:
    """As `moment_ms`; None for None."""
    return None if text is None else moment_ms(option, text)


def moment_ms(option: str, text: str) -> int:
    """A time in ISO 8601 (UTC if it has no zone) as ms since the Unix epoch.

    Raises:
        UserError: the text is not ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{option} {text!r} is not ISO 8601; write for example 2026-01-31T12:00:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def address(text: str | None) -> tuple[int, int] | None:
    """A record's partition and offset.

    Raises:
        UserError: the text is not PARTITION/OFFSET.
    """
    if text is None:
        return None
    partition, slash, offset = text.partition("/")
    if not (slash and partition.isdecimal() and offset.isdecimal()):
        raise UserError(
            f"--at {text!r} is not an address; write PARTITION/OFFSET, as `hazardstream dlq show` prints it"
        )
    return int(partition), int(offset)
