"""Dead letters at the terminal: counts by reason, single letters, progress of long reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.dead_letter_reasons import DeadLetterReason
from common.errors import DependencyDownError
from common.progress import progress_bar
from common.text import lines, shown, text_or_hex
from common.times import iso_utc
from schemas.codec import decode_fields
from schemas.load import Schema
from worker.dead_letters.recheck import Recheck
from worker.dead_letters.survey import Selection, Survey, survey
from worker.encode.dead_letter import ERRORS, OMITTED, Letter
from worker.kafka.message import Headers
from worker.kafka.topic_reader import TopicReader
from worker.score.decode import WriterSchemaOf

_HEX_SHOWN = 400
_REASONS = {reason.value: reason for reason in DeadLetterReason}


def meaning(reason: str) -> str:
    """What a reason code means; empty for one of another release."""
    return _REASONS[reason].meaning if reason in _REASONS else ""


def advice(reason: str) -> str:
    """When to redrive dead letters of this reason."""
    return _REASONS[reason].redrive if reason in _REASONS else "not known: another release wrote the dead letter"


def survey_topic(
    reader: TopicReader,
    topic: str,
    selection: Selection,
    *,
    as_json: bool,
    committed: bool = True,
    count_keys: bool = False,
) -> Survey:
    """Survey the dead-letter topic behind a progress bar; see `worker.dead_letters.survey.survey`."""
    spans = reader.spans(topic, committed=committed)
    if selection.at is not None:  # the letter's marker, if there is one, follows it in the same partition
        partition, offset = selection.at
        spans = {n: s._replace(low=max(s.low, offset)) for n, s in spans.items() if n == partition}
    with counter("reading", sum(max(s.high - s.low, 0) for s in spans.values()), as_json=as_json) as progress:
        return survey(reader, topic, spans, selection, count_keys=count_keys, progress=progress)


@contextmanager
def counter(label: str, total: int, *, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar. Yields a function to call with the number of items that were just completed."""
    with progress_bar(as_json) as bar:
        task = bar.add_task("", label=label, total=total)
        yield lambda more: bar.advance(task, more)


def counts_by_reason(topic: str, surveyed: Survey, top_keys: int) -> dict[str, Any]:
    """The result of `dlq list`, ready for JSON."""
    letters, redriven = surveyed.counts(lambda of: of.reason > 0), surveyed.counts(lambda of: of.redriven)
    reasons = [
        {
            "reason": reason,
            "letters": count,
            "redriven": redriven.get(reason, 0),
            "first": _kafka_time(surveyed.times_ms[reason][0]),
            "last": _kafka_time(surveyed.times_ms[reason][1]),
            "meaning": meaning(reason),
            "redrive_helps": advice(reason),
        }
        for reason, count in sorted(letters.items(), key=lambda item: -item[1])
    ]
    counts = {
        "topic": topic,
        "letters": sum(letters.values()),
        "redriven": sum(redriven.values()),
        "foreign": surveyed.foreign,
        "reasons": reasons,
    }
    if top_keys:
        most = surveyed.keys.most_common(top_keys)
        counts["keys"] = [{"key": text_or_hex(key), "letters": count} for key, count in most]
        counts["keys_approximate"] = surveyed.keys_rounded
    return counts


def print_counts(console: Console, counts: dict[str, Any]) -> None:
    """Print what `counts_by_reason` gives."""
    columns = ("reason", "letters", "redriven", "first", "last")
    rows = [{name: row[name] for name in columns} for row in counts["reasons"]]
    print_table(console, f"{counts['letters']} dead letters in {counts['topic']}", rows)
    for row in counts["reasons"]:
        console.print(f"{row['reason']}: {row['meaning'] or 'unknown'}. Redrive: {row['redrive_helps']}")
    if "keys" in counts:
        approximate = " (approximate: too many keys to count all)" if counts["keys_approximate"] else ""
        print_table(console, f"keys with most dead letters{approximate}", counts["keys"])
    if counts["foreign"]:
        console.print(f"{counts['foreign']} more records were not written by a hazardstream worker")


def print_table(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table whose cells are folded and never cut, so that they can be copied."""
    table = Table(title=Text(shown(title)), title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row.values()))
    console.print(table if rows else title)


def describe(
    letter: Letter, recheck: Recheck, writer_schema_of: WriterSchemaOf, reader: Schema, *, redriven: bool
) -> dict[str, Any]:
    """Everything known about a letter, for `print_letter` or `strict_json`.

    Args:
        letter: as it is in its topic.
        recheck: says what a worker would make of the record now.
        writer_schema_of: see `schemas.codec.decode`.
        reader: the schema of the input's records.
        redriven: whether a marker says that it was.
    """
    topic, partition, offset = letter.source
    facts: dict[str, Any] = {
        "at": f"{letter.partition}/{letter.offset}",
        "reason": letter.reason,
        "meaning": meaning(letter.reason),
        "redrive_helps": advice(letter.reason),
        "message": letter.said.get(ERRORS + "message", ""),
        "time": _kafka_time(letter.timestamp_ms),
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "attempts": letter.attempts,
        "redriven": redriven,
        "key": text_or_hex(letter.key),
        "headers": _headers(letter.headers),
        "omitted": {part: letter.said[OMITTED[part]] for part in letter.omitted},
    }
    if "value" in letter.omitted:
        missing = "unknown: the dead letter does not hold the value; a redrive reads it from the input topic"
        return facts | {"now": missing}
    try:
        if letter.value is not None:
            facts |= _decoded(letter, writer_schema_of, reader) | {"violations": recheck.violations(letter)}
        again = next(iter(recheck.rejections([letter])), None)
        facts["now"] = f"{again.reason}: {again.message}" if again else "valid; it may still be late or a duplicate"
    except DependencyDownError as error:
        facts |= {"now": f"unknown: {error}", "value_hex": (letter.value or b"").hex()}
    return facts


def _decoded(letter: Letter, writer_schema_of: WriterSchemaOf, reader: Schema) -> dict[str, Any]:
    value = letter.value or b""
    decoded = decode_fields(value, writer_schema_of, reader, letter.headers)
    facts: dict[str, Any] = {
        "schema": str(decoded.schema) if decoded.schema else None,
        "fields": decoded.record,
    }
    if decoded.fault is not None:
        facts |= {"unread": decoded.unread, "fault": decoded.fault, "value_hex": value.hex()}
    return facts


def _kafka_time(ms: int) -> str:
    return iso_utc(ms, "milliseconds") if ms else ""


def _headers(headers: Headers) -> list[dict[str, str | None]]:
    return [{"name": name, "value": text_or_hex(value)} for name, value in headers]


def print_letter(facts: dict[str, Any], console: Console) -> None:
    """Print what `describe` gives."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    source = facts["source"]
    rows = {
        "problem": facts["message"],
        "meaning": facts["meaning"],
        "broken rules": "\n".join(facts.get("violations", ())),
        "result now": facts["now"],
        "redrive": facts["redrive_helps"],
        "original": f"{source['topic']} {source['partition']}/{source['offset']}, {facts['time'] or 'no timestamp'}",
        "redriven": f"{'yes' if facts['redriven'] else 'no'}; attempts before this dead letter: {facts['attempts']}",
        "key": "none" if facts["key"] is None else facts["key"],
        "headers": "\n".join(f"{h['name']}: {h['value']}" for h in facts["headers"]),
        "omitted": "\n".join(f"{part}: {why}" for part, why in facts["omitted"].items()),
        "schema": facts.get("schema") or "",
        "decoding fails": facts.get("fault") or "",
        "fields not read": ", ".join(facts.get("unread", ())),
        "value": _shortened(facts.get("value_hex", "")),
    }
    for name, text in rows.items():
        if text:
            grid.add_row(name, Text(lines(text)))
    fields = Table.grid(padding=(0, 2))
    for name, value in facts.get("fields", {}).items():
        fields.add_row(Text(f"  {shown(name)}"), Text(shown(text_or_hex(value) if isinstance(value, bytes) else value)))
    title = Text(shown(f"{facts['at']}  {facts['reason']}"))
    console.print(Panel(Group(grid, fields), title=title, title_align="left"))


def _shortened(digits: str) -> str:
    more = f" … {len(digits) // 2} bytes in total" if len(digits) > _HEX_SHOWN else ""
    return f"0x{digits[:_HEX_SHOWN]}{more}" if digits else ""
