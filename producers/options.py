"""Options of the commands that publish or read recordings."""

from pathlib import Path
from typing import Annotated

import typer

PublishPipelineOption = Annotated[
    str,
    typer.Option(envvar="HAZARDSTREAM_PIPELINE", help="Name of a bundled pipeline, or the path of a pipeline file."),
]
PublishBootstrapOption = Annotated[
    str | None, typer.Option(help="Kafka brokers, HOST:PORT,….  [default: KAFKA_BOOTSTRAP_SERVERS, or 127.0.0.1:9092]")
]
PublishRegistryOption = Annotated[
    str | None,
    typer.Option(
        envvar="SCHEMA_REGISTRY_URL",
        help="Schema registry; then values are in Confluent's wire format, else in Avro's single-object encoding.",
    ),
]
StartOption = Annotated[
    str | None, typer.Option(help="Event time of the first reading, ISO 8601 (UTC unless it says otherwise).")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(help="OURS=THEIRS,… for columns of other names; a minus before THEIRS turns the sign."),
]
KeyColumnsOption = Annotated[
    str | None, typer.Option(help='Columns whose values, joined by "/", are the module, as in test,run.')
]
RackOption = Annotated[
    str | None, typer.Option(help="Rack of all rows of a file without such a column.  [default: the file's name]")
]
RecordedTopologyOption = Annotated[
    str | None,
    typer.Option(
        help="How what was recorded is built, as in cells_in_series=1,capacity_ah=2.6. Voltage and current "
        "are then rescaled to the topology in the pipeline file, so that voltage per cell, C-rate and scores are "
        "the recording's."
    ),
]
SummaryJsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object, the last line.")]
RecordingSpeedOption = Annotated[float, typer.Option(help="Factor on the recording's own pace.")]
RateOption = Annotated[float | None, typer.Option(help="Readings a second, instead of the recording's own pace.")]
AsFastAsPossibleOption = Annotated[bool, typer.Option("--as-fast-as-possible", help="No pace at all.")]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave bad rows out and list them, instead of publishing nothing.")
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on after what an interrupted replay delivered. The last few readings may come twice; "
        "workers drop them.",
    ),
]
StateOption = Annotated[
    Path | None, typer.Option(help="Where to note how far it got.  [default: in the user's state directory]")
]
