"""Finds the rows to train on: a given file, the folder of shared recordings, the public source, else generated rows."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pandas as pd

from common.directories import cache_directory
from common.errors import UserError
from common.text import shown

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "tabular"
"""Beside the repository: where a workplace may keep recordings that are not part of it."""
_CONNECT_S, _TOTAL_BYTES = 10.0, 1 << 26


@dataclass(frozen=True)
class Source:
    """A public set of rows, and what stands in for it without network.

    Attributes:
        file: name of its file, in the shared folder and in the cache.
        url: public address.
        sha256: of its rows, as `digest` gives it: the same for each way in which the rows are packed.
        read: rows of the content of a file, under the names that the pipeline uses. Raises ValueError on other content.
        generate: that many rows of the same form, by seed.
        licence: of the rows, with their origin.
    """

    file: str
    url: str
    sha256: str
    read: Callable[[bytes], pd.DataFrame]
    generate: Callable[[int], pd.DataFrame]
    licence: str


@dataclass(frozen=True)
class Rows:
    """Rows, and where they come from.

    Attributes:
        origin: in text, for output and model card.
        generated: whether they are made up.
        sha256: of the rows, see `digest`.
    """

    frame: pd.DataFrame
    origin: str
    generated: bool
    sha256: str


def find_rows(source: Source, given: Path | None = None, *, seed: int = 0, shared: Path = SHARED) -> Rows:
    """The rows of a source.

    A given file may hold any rows of the same form; all others must be the published rows.

    Args:
        source: what is wanted.
        given: a file of the user.
        seed: of generated rows.
        shared: folder that may have the file.

    Raises:
        UserError: a file cannot be read, or does not hold the rows that it should.
    """
    if given is not None:
        return _rows(_read(source, _content(given), shown(given)), f"the file {shown(given)}")
    for path, where in ((shared / source.file, "the shared folder"), (_cached(source), f"{source.url} (cached)")):
        if path.is_file():
            return _published(source, path.read_bytes(), where)
    try:
        content = _download(source.url)
    except httpx.HTTPError as error:
        reason = f"{source.url} cannot be read ({type(error).__name__})"
        return _rows(source.generate(seed), f"GENERATED rows, not the real ones: {reason}", generated=True)
    rows = _published(source, content, source.url)
    _cached(source).parent.mkdir(parents=True, exist_ok=True)
    _cached(source).write_bytes(content)
    return rows


def given_rows(path: Path) -> Rows:
    """The rows of a CSV file of the user.

    Raises:
        UserError: it cannot be read, or is no CSV.
    """
    try:
        frame = pd.read_csv(io.BytesIO(_content(path)))
    except ValueError as error:
        raise UserError(f"{shown(path)} is no CSV file: {shown(error, 300)}") from error
    return _rows(frame, f"the file {shown(path)}")


def wanted(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the rows.

    Raises:
        ValueError: some are missing.
    """
    if missing := [name for name in columns if name not in frame.columns]:
        raise ValueError(f"there is no column {', '.join(missing)}")
    return frame[[*columns]]


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 of the column names and values, independent of the file format that they were read from."""
    text = frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(frame: pd.DataFrame, origin: str, *, generated: bool = False) -> Rows:
    return Rows(frame, origin, generated, digest(frame))


def _published(source: Source, content: bytes, where: str) -> Rows:
    rows = _rows(_read(source, content, where), where)
    if rows.sha256 != source.sha256:
        raise UserError(
            f"the rows of {where} have the SHA-256 {rows.sha256}, not {source.sha256}: they are not the published "
            "ones; give a file of your own with --data, or correct the file"
        )
    return rows


def _read(source: Source, content: bytes, where: str) -> pd.DataFrame:
    try:
        return source.read(content)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"{where} does not hold rows like those of {source.file}: {shown(error, 300)}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read ({error.strerror}); name a file of rows") from error


def _cached(source: Source) -> Path:
    return cache_directory() / "datasets" / source.file


def _download(url: str) -> bytes:
    content = bytearray()
    with httpx.stream("GET", url, timeout=_CONNECT_S, follow_redirects=True) as answer:
        answer.raise_for_status()
        for part in answer.iter_bytes():
            content += part
            if len(content) > _TOTAL_BYTES:
                raise UserError(f"{url} is larger than {_TOTAL_BYTES:,} bytes; is it the right address?")
    return bytes(content)
