"""Options that several commands have, and how their texts are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from common.errors import UserError

PipelineOption = Annotated[
    str | None, typer.Option(help="Pipeline file, or name of one. Default: HAZARDSTREAM_PIPELINE, or battery_hazard.")
]
BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap", help="Kafka brokers, host:port,… Default: KAFKA_BOOTSTRAP_SERVERS.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Schema registry URL. Default: SCHEMA_REGISTRY_URL, or none.")
]
TrackingUriOption = Annotated[str | None, typer.Option(help="MLflow. Default: MLFLOW_TRACKING_URI.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]


def iso_ms(option: str, text: str | None) -> int | None:
    """As `moment_ms`; nothing for nothing."""
    return None if text is None else moment_ms(option, text)


def moment_ms(option: str, text: str) -> int:
    """A moment in ISO 8601, UTC unless it says otherwise, as ms since the epoch.

    Raises:
        UserError: it is no such text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{option} {text!r} is not ISO 8601; write for example 2026-01-31T12:00:00Z") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def address(text: str | None) -> tuple[int, int] | None:
    """A record's partition and offset.

    Raises:
        UserError: it is no such text.
    """
    if text is None:
        return None
    partition, slash, offset = text.partition("/")
    if not (slash and partition.isdecimal() and offset.isdecimal()):
        raise UserError(f"--at {text!r} is no address; write PARTITION/OFFSET, as `hazardstream dlq show` prints it")
    return int(partition), int(offset)


@contextmanager
def training_packages() -> Iterator[None]:
    """Have what is imported within, and is not installed, told as what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{error}; training needs more packages: pip install 'hazardstream[training]'") from error
