"""Which files a recording consists of, and what kind each is."""

import glob
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.text import shown

TEXT = (".csv", ".tsv", ".txt", ".dat", ".asc")
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PACKED = (".gz", ".bz2", ".zst")


def kind_of(path: Path) -> str:
    """The suffix of a file's name, without that of a compression, in lower case."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return name.suffix.lower()


def is_table(path: Path) -> bool:
    """Whether the file name has a suffix of a file that can be read."""
    return kind_of(path) in (*TEXT, *JSON, *PARQUET, *SHEETS)


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The given files, all tables in the given directories, and what patterns such as `day-*.csv` match, in order.

    Raises:
        UserError: a directory holds no table, or there is no such file, or one of another kind.
    """
    files: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and is_table(p))
            if not found:
                raise UserError(f"{path} holds no .csv and no .parquet file; name files, or another directory")
        elif not path.exists() and glob.has_magic(str(path)):
            found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute, too
        for file in found:
            _require_table(file)
        files += found
        if not found:
            raise UserError(f"no file matches {shown(path)}; check the pattern")
    return list(dict.fromkeys(files))


def _require_table(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {shown(path)}; check the path")
    if not is_table(path):
        raise UserError(
            f"{shown(path)}: only .csv and .parquet files can be read (also .tsv, .txt, .jsonl, .xlsx, .ods, and text "
            "files as .gz); convert it, or change its suffix"
        )
