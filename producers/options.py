"""Options of the commands that read or publish recordings."""

from pathlib import Path
from typing import Annotated

import typer

StartOption = Annotated[
    str | None, typer.Option(help="Event time of the first reading, ISO 8601 (UTC if it has no zone).")
]
RecordingsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE…",
        help="Text (.csv, .tsv, .txt, also .gz), Parquet, JSON lines or spreadsheets; directories; patterns such as "
        "'day-*.csv'.",
    ),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="FIELD=COLUMN,… where names differ. A minus before COLUMN reverses the sign. In place of COLUMN an SQL "
        "expression: \"ts=Date || ' ' || Time\", max_c=greatest(t1,t2)/10. May be repeated."
    ),
]
MappingOption = Annotated[
    Path | None,
    typer.Option(
        help="YAML file with columns, key_columns, key, group, topology, sheet, query, time_format, time_unit, "
        "time_zone. Options win over it."
    ),
]
QueryOption = Annotated[
    Path | None,
    typer.Option(
        help="SQL whose result is read instead of the files; there they are the table file (or file1, file2, …)."
    ),
]
SheetOption = Annotated[str | None, typer.Option(help="Sheet of a spreadsheet that has several with a table.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", "--module", help="Key of every row: joins the files of one asset. Default: the file's name."),
]
TimeFormatOption = Annotated[
    str | None, typer.Option(help="How times are written, as strptime takes it: '%d/%m/%Y %H:%M:%S'.")
]
TimeUnitOption = Annotated[
    str | None,
    typer.Option(help="Unit of times that are numbers: s, ms, us, ns, min, h, d, excel, excel1904 or matlab."),
]
TimeZoneOption = Annotated[
    str | None, typer.Option(help="Zone of times that do not say it, such as Europe/Berlin. Default: UTC.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only read the files and say how they were understood; needs no broker.")
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
        help="PARAMETER=VALUE,…: how the recorded equipment is built. The fields that the pipeline file lists under "
        "topology.per are then rescaled to the topology declared there. backtest takes texts as they are; replay needs "
        "those that the file declares."
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
ReplayEveryOption = Annotated[
    float | None,
    typer.Option(
        min=0.001, help="Keep one reading in each period of this many seconds, with the extreme of each sensor."
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
