"""Brings a text file into the form that the reader takes: plain UTF-8 with one kind of line end.

Most files have it, and are read where they are. Others are copied into a temporary directory, a piece at a time.
"""

import codecs
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from common.errors import UserError
from common.text import shown
from producers.recordings.files import PACKED

_PIECE = 1 << 22
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class TextFile:
    """A text file that can be read.

    Attributes:
        path: the file itself, or a copy of it.
        line_end: of every line.
        notes: what was changed, for people.
    """

    path: Path
    line_end: str
    notes: tuple[str, ...] = ()


@dataclass
class _Survey:
    encoding: str
    zero_bytes: bool = False
    lone: bool = False
    pairs: bool = False
    plain: bool = False


def clean_text(path: Path, copy: Path) -> TextFile:
    """The file in plain UTF-8: itself, or a copy.

    Args:
        path: a text file, possibly compressed.
        copy: where a copy is written to, if one is needed.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        found = _survey(path)
        packed = path.suffix.lower() in PACKED
        ends = found.lone + found.pairs + found.plain
        bom = path.open("rb").read(4).startswith(codecs.BOM_UTF8) if not packed else False
        notes = []
        if found.encoding != "utf-8":
            notes.append(f"text is in {found.encoding}")
        if found.zero_bytes:
            notes.append("zero bytes in the text were left out")
        if not (notes or packed or bom or found.lone or ends > 1):
            return TextFile(path, "\r\n" if found.pairs else "\n")
        _copy(path, copy, found.encoding)
    except (OSError, EOFError, UnicodeError, lzma.LZMAError, pa.ArrowException) as error:
        raise UserError(f"{shown(path)} cannot be read: {shown(error, 200)}; check the file") from error
    return TextFile(copy, "\n", tuple(notes))


def _opened(path: Path) -> IO[bytes] | Any:
    return pa.input_stream(str(path), compression="detect")


def _pieces(path: Path) -> Iterator[bytes]:
    with _opened(path) as file:
        while piece := file.read(_PIECE):
            yield piece


def _survey(path: Path) -> _Survey:
    """One pass over the bytes: encoding, zero bytes and line ends."""
    with _opened(path) as file:
        head = file.read(1 << 16)
    wide = _wide_encoding(head)
    if wide is not None:
        return _Survey(wide)
    found, decoder = _Survey("utf-8"), codecs.getincrementaldecoder("utf-8")()
    after_return = False
    for piece in _pieces(path):
        found.zero_bytes |= b"\0" in piece
        returns, pairs = piece.count(b"\r"), piece.count(b"\r\n")
        # A pair may be cut in two by the end of a piece.
        split = after_return and piece.startswith(b"\n")
        after_return = piece.endswith(b"\r")
        found.pairs |= pairs > 0 or split
        found.lone |= returns - after_return > pairs
        found.plain |= piece.count(b"\n") - split > pairs
        if found.encoding == "utf-8" and not piece.isascii():
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                found.encoding = "cp1252"
    found.lone |= after_return
    return found


def _wide_encoding(head: bytes) -> str | None:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return None if encoding == "utf-8" else encoding
    # Text in Latin letters: every second byte is zero.
    if len(head) >= 4 and head[1::2].count(0) > 0.4 * len(head) / 2:
        return "utf-16-le"
    if len(head) >= 4 and head[0::2].count(0) > 0.4 * len(head) / 2:
        return "utf-16-be"
    return None


def _copy(path: Path, copy: Path, encoding: str) -> None:
    # cp1252 leaves five bytes undefined; no reading is lost for their sake.
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    held = ""
    with copy.open("w", encoding="utf-8", newline="") as target:
        first = True
        for piece in _pieces(path):
            text = held + decoder.decode(piece)
            if first:
                text, first = text.removeprefix("\ufeff"), False
            held = "\r" if text.endswith("\r") else ""
            text = text[: len(text) - len(held)]
            target.write(text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n"))
        target.write("\n" if held else "")
