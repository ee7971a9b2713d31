"""A dead letter for a person to read: decoded as far as possible, with the rule it breaks."""

import math
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.errors import DependencyDownError
from common.text import lines, shown
from schemas.codec import decode_fields
from schemas.load import Schema
from worker.dead_letters.recheck import Judge
from worker.encode.dead_letter import ERRORS, OMITTED, Letter
from worker.kafka.message import Headers
from worker.score.decode import WriterSchemaOf

_HEX_SHOWN = 400


def iso(time_ms: int) -> str:
    """A Kafka timestamp in words; empty where there was none, and the number where no calendar reaches so far."""
    if not time_ms:
        return ""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_or_hex(data: bytes | None) -> str | None:
    """Printable text, or hex digits with 0x before them."""
    if data is None:
        return None
    text = data.decode(errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else f"0x{data.hex()}"


def describe(
    letter: Letter, judge: Judge, writer_schema_of: WriterSchemaOf, reader: Schema, *, redriven: bool
) -> dict[str, Any]:
    """All there is to say about a letter, ready for JSON.

    Args:
        letter: as it stands in its topic.
        judge: says what a worker would say now.
        writer_schema_of: see `schemas.codec.decode`.
        reader: the schema of the input's records.
        redriven: whether a marker says so.
    """
    topic, partition, offset = letter.source
    told: dict[str, Any] = {
        "at": f"{letter.partition}/{letter.offset}",
        "reason": letter.reason,
        "message": letter.said.get(ERRORS + "message", ""),
        "time": iso(letter.timestamp_ms),
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "attempts": letter.attempts,
        "redriven": redriven,
        "key": text_or_hex(letter.key),
        "headers": _headers(letter.headers),
        "omitted": {part: letter.said[OMITTED[part]] for part in letter.omitted},
    }
    if "value" in letter.omitted:
        return told | {"now": "not known: the value is not here; redrive fetches it from the input topic"}
    try:
        if letter.value is not None:
            told |= _decoded(letter, writer_schema_of, reader) | {"violations": judge.violations(letter)}
        again = next(iter(judge.rejections([letter])), None)
        told["now"] = f"{again.reason}: {again.message}" if again else "decodes and is valid; late it may still be"
    except DependencyDownError as error:
        told |= {"now": f"not known: {error}", "value_hex": (letter.value or b"").hex()}
    return told


def _decoded(letter: Letter, writer_schema_of: WriterSchemaOf, reader: Schema) -> dict[str, Any]:
    value = letter.value or b""
    found = decode_fields(value, writer_schema_of, reader, letter.headers)
    told: dict[str, Any] = {"schema": str(found.schema) if found.schema else None, "fields": _jsonable(found.record)}
    if found.fault is not None:
        told |= {"unread": found.unread, "fault": found.fault, "value_hex": value.hex()}
    return told


def _headers(headers: Headers) -> list[dict[str, str | None]]:
    return [{"name": name, "value": text_or_hex(value)} for name, value in headers]


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _jsonable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_jsonable(part) for part in value]
    if isinstance(value, bytes):
        return text_or_hex(value)
    # JSON has no NaN or infinity.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_letter(told: dict[str, Any], console: Console) -> None:
    """Print what `describe` gives."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    source = told["source"]
    facts = {
        "what was wrong": told["message"],
        "rules broken": "\n".join(told.get("violations", ())),
        "now": told["now"],
        "came from": f"{source['topic']} {source['partition']}/{source['offset']} at {told['time'] or 'no time'}",
        "redriven": f"before: {told['attempts']} times; this letter: {'yes' if told['redriven'] else 'no'}",
        "key": "none" if told["key"] is None else told["key"],
        "headers": "\n".join(f"{h['name']}: {h['value']}" for h in told["headers"]),
        "not kept": "\n".join(f"{part}: {why}" for part, why in told["omitted"].items()),
        "written with": told.get("schema") or "",
        "breaks at": told.get("fault") or "",
        "not readable": ", ".join(told.get("unread", ())),
        "value": _shortened(told.get("value_hex", "")),
    }
    for name, words in facts.items():
        if words:
            grid.add_row(name, Text(lines(words)))
    fields = Table.grid(padding=(0, 2))
    for name, value in told.get("fields", {}).items():
        fields.add_row(Text(f"  {shown(name)}"), Text(shown(value)))
    title = Text(shown(f"{told['at']}  {told['reason']}"))
    console.print(Panel(Group(grid, fields), title=title, title_align="left"))


def _shortened(digits: str) -> str:
    more = f" … {len(digits) // 2} bytes in all" if len(digits) > _HEX_SHOWN else ""
    return f"0x{digits[:_HEX_SHOWN]}{more}" if digits else ""
