"""Options of the commands that read or publish recordings."""

from pathlib import Path
from typing import Annotated

import typer

StartOption = Annotated[
    str | None, typer.Option(help="Event time of the first reading, ISO 8601 (UTC if it has no zone).")
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(help="FIELD=COLUMN,… where names differ. A minus before COLUMN reverses the sign."),
]
KeyColumnsOption = Annotated[
    str | None, typer.Option(help='Columns that make up the key, joined by "/": site,device for example.')
]
GroupOption = Annotated[
    str | None, typer.Option(help="Group of every row, for files without a group column. Default: the file's name.")
]
RecordedTopologyOption = Annotated[
    str | None,
    typer.Option(
        help="PARAMETER=NUMBER,…: how the recorded equipment is built. The fields that the pipeline file lists under "
        "topology.per are then rescaled to the topology declared there."
    ),
]
RecordingSpeedOption = Annotated[float, typer.Option(help="Multiple of the recording's own pace.")]
RateOption = Annotated[float | None, typer.Option(help="Readings per second, instead of the recording's own pace.")]
AsFastAsPossibleOption = Annotated[bool, typer.Option("--as-fast-as-possible", help="Publish without pauses.")]
SkipBadOption = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Skip bad rows and list them. Without this, one bad row stops the replay at the start."
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue after the last reading that an interrupted replay delivered. The last few readings may be "
        "published twice; workers drop the copies.",
    ),
]
StateOption = Annotated[
    Path | None, typer.Option(help="File that records the progress. Default: a file in the user's state directory.")
]
