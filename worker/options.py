"""Options that several commands have."""

from typing import Annotated

import typer

PipelineOption = Annotated[
    str | None, typer.Option(help="Pipeline file, or name of one. Default: HAZARDSTREAM_PIPELINE, or battery_hazard.")
]
BootstrapOption = Annotated[
    str | None, typer.Option("--bootstrap", help="Kafka brokers, host:port,… Default: KAFKA_BOOTSTRAP_SERVERS.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", help="Schema registry URL. Default: SCHEMA_REGISTRY_URL, or none.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")]
