"""Commands for dead letters: list, show, redrive."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from common.cli_options import BootstrapOption, JsonOption, PipelineOption, RegistryOption, address, iso_ms
from common.dead_letter_reasons import DeadLetterReason
from common.errors import UserError
from common.terminal import say, terminal
from common.text import shown

if TYPE_CHECKING:
    from worker.dead_letters.redrive import Preview
    from worker.dead_letters.survey import Selection, Survey
    from worker.kafka.topic_reader import TopicReader

app = typer.Typer(help="Dead letters: count them, look at them, send them back after a fix.", no_args_is_help=True)

ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="Only of this reason; may be repeated.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="Kafka timestamp at or after, ISO 8601 (UTC unless it says otherwise).")
]
ToOption = Annotated[str | None, typer.Option("--to", help="Kafka timestamp before, ISO 8601.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="Only with this message key.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="Only the one at PARTITION/OFFSET of the dead-letter topic.")
]


@app.command("list")
def list_letters(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    until: ToOption = None,
    key: KeyOption = None,
    top_keys: Annotated[int, typer.Option(min=0, help="Also the so many keys with most letters.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by reason: how many, first and last (Kafka timestamps), how many redriven already.

    Example: hazardstream dlq list --from 2026-01-31T12:00:00Z --top-keys 10
    """
    from worker.cli.dlq_view import iso, text_or_hex
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka.client_config import client_config
    from worker.kafka.topic_reader import TopicReader

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    topic = load_pipeline(settings.pipeline).outputs.dead_letters.topic
    selection = _selection(reason, since, until, key)
    with TopicReader(client_config(settings.bootstrap_servers)) as reader:
        found = _survey(reader, topic, selection, as_json, count_keys=top_keys > 0)
    all_of, again = found.counts(lambda f: f.reason > 0), found.counts(lambda f: f.redriven)
    rows = [
        {
            "reason": name,
            "letters": count,
            "redriven": again.get(name, 0),
            "first": iso(found.times_ms[name][0]),
            "last": iso(found.times_ms[name][1]),
        }
        for name, count in sorted(all_of.items(), key=lambda item: -item[1])
    ]
    keys = [{"key": text_or_hex(name), "letters": count} for name, count in found.keys.most_common(top_keys)]
    total = {"topic": topic, "letters": sum(all_of.values()), "redriven": sum(again.values()), "foreign": found.foreign}
    if as_json:
        more = {"keys": keys, "keys_approximate": found.keys_rounded} if top_keys else {}
        say(json.dumps(total | {"reasons": rows} | more))
        return
    console = terminal()
    _table(console, f"{total['letters']} dead letters in {topic}", rows)
    if top_keys:
        _table(console, "by key" + (" (approximately: there are very many)" if found.keys_rounded else ""), keys)
    if found.foreign:
        console.print(f"and {found.foreign} records that are no dead letters of a hazardstream worker")


@app.command()
def show(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    until: ToOption = None,
    key: KeyOption = None,
    at: AtOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters one by one: decoded as far as possible, the rule broken, and what a worker would say now.

    Example: hazardstream dlq show --reason malformed --limit 3
    """
    from schemas.registry import registry_at, writer_schema_lookup
    from worker.cli.dlq_view import describe, print_letter
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.dead_letters.recheck import Judge
    from worker.dead_letters.redrive import input_topic
    from worker.dead_letters.survey import letters
    from worker.kafka.client_config import client_config
    from worker.kafka.topic_reader import TopicReader

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    loaded = load_pipeline(settings.pipeline)
    topic = loaded.outputs.dead_letters.topic
    selection = _selection(reason, since, until, key, at)
    lookup = writer_schema_lookup(registry_at(settings.registry_url), loaded.known_schemas)
    reader_schema = loaded.input.avro_schema
    config = client_config(settings.bootstrap_servers)
    with TopicReader(config) as reader:
        judge = Judge(loaded.input, lookup, stamped_anew=input_topic(config, reader, loaded.input.topic).stamps)
        found = _survey(reader, topic, selection, as_json)
        first = found.addresses(lambda f: f.reason > 0, limit)
        shown = []
        for letter in letters(reader, topic, first):
            place = found.found[letter.partition]
            redriven = bool(place.redriven[letter.offset - place.low])
            shown.append(describe(letter, judge, lookup, reader_schema, redriven=redriven))
    matching = sum(found.counts(lambda f: f.reason > 0).values())
    if as_json:
        say(json.dumps({"topic": topic, "matching": matching, "letters": shown}))
        return
    console = terminal()
    for told in shown:
        print_letter(told, console)
    console.print(f"{len(shown)} of {matching} dead letters in {topic} that were asked for")


@app.command()
def redrive(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    registry: RegistryOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    until: ToOption = None,
    key: KeyOption = None,
    at: AtOption = None,
    max_attempts: Annotated[
        int, typer.Option(min=1, max=100, help="Leave letters that were redriven so often before.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to the partition of the input topic that they came from, each once, after a fix.

    A letter that fails again is a new letter with attempt 1, and can be redriven as attempt 2. Of use:

    unknown_schema: once the schema is registered.
    incompatible_schema, malformed, invalid, wrong_key: once schemas, ranges or pipeline were put right.
    no_timestamp: at once. future: once its time has come. late: only once its key's newer readings are forgotten.
    null_value, implausible_time, unreadable: never.

    Any letter is late once its key's newer readings are newer by 7.5 minutes (docs/operations.md).

    Example: hazardstream dlq redrive --reason unknown_schema --dry-run
    """
    from common.logs import configure_logs
    from schemas.registry import registry_at, writer_schema_lookup
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.dead_letters.recheck import Judge
    from worker.dead_letters.redrive import Originals, Preview, Result, input_topic, open_publisher, preview
    from worker.dead_letters.redrive import redrive as send
    from worker.dead_letters.survey import letters
    from worker.kafka.client_config import client_config
    from worker.kafka.topic_reader import TopicReader

    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UserError("there is nobody to ask; add --yes to redrive, or --dry-run to see what would go")
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    configure_logs("warning")
    loaded = load_pipeline(settings.pipeline)
    topic, config = loaded.outputs.dead_letters.topic, client_config(settings.bootstrap_servers)
    selection = _selection(reason, since, until, key, at)
    console = terminal(stderr=as_json)
    with TopicReader(config) as reader, TopicReader(config) as second:
        source = input_topic(config, second, loaded.input.topic)
        originals = Originals(second, source)
        # Before the survey: what a redrive at work commits after it would not be seen.
        publisher = None if dry_run else open_publisher(config, reader, source, topic)
        found = _survey(reader, topic, selection, as_json, committed=dry_run)
        due = found.addresses(lambda f: ~f.redriven & (f.attempts < max_attempts))
        count = sum(map(len, due.values()))
        result, foreseen = Result(), Preview()
        if not yes or dry_run:
            lookup = writer_schema_lookup(registry_at(settings.registry_url), loaded.known_schemas)
            judge = Judge(loaded.input, lookup, stamped_anew=source.stamps)
            with _bar("judging", count, as_json) as progress:
                foreseen = preview(letters(reader, topic, due), originals, source, judge, progress)
        plan = _plan(found, max_attempts, foreseen)
        if not as_json:
            _print_plan(console, plan, topic, source.name)
        if publisher is not None and count and (yes or typer.confirm(f"Redrive {count} letters?", abort=True)):
            with _bar("redriving", count, as_json) as progress:
                send(letters(reader, topic, due), originals, publisher, source, topic, result, progress)
    skipped = dict(foreseen.skipped if dry_run else result.skipped)
    if as_json:
        names = {"topic": topic, "to": source.name, "dry_run": dry_run, "redriven": result.redriven, "skipped": skipped}
        say(json.dumps(names | plan))
        return
    for why, number in skipped.items():
        console.print(f"left: {number} letters {why}")
    console.print("dry run: nothing was changed" if dry_run else f"redriven: {result.redriven}")


def _survey(
    reader: "TopicReader",
    topic: str,
    selection: "Selection",
    as_json: bool,
    *,
    committed: bool = True,
    count_keys: bool = False,
) -> "Survey":
    from worker.dead_letters.survey import survey

    spans = reader.spans(topic, committed=committed)
    if selection.at is not None:  # a letter's marker lies behind it, in the same partition
        partition, offset = selection.at
        spans = {n: s._replace(low=max(s.low, offset)) for n, s in spans.items() if n == partition}
    with _bar("reading", sum(max(s.high - s.low, 0) for s in spans.values()), as_json) as progress:
        return survey(reader, topic, spans, selection, count_keys=count_keys, progress=progress)


def _plan(found: "Survey", max_attempts: int, foreseen: "Preview") -> dict[str, Any]:
    return {
        "due": found.counts(lambda f: ~f.redriven & (f.attempts < max_attempts)),
        "redriven_before": found.counts(lambda f: f.redriven),
        "attempts_exhausted": found.counts(lambda f: ~f.redriven & (f.attempts >= max_attempts)),
        "would_fail_again": dict(foreseen.fail_again),
    }


def _print_plan(console: Console, plan: Mapping[str, Any], topic: str, target: str) -> None:
    advice = {reason.value: reason.redrive for reason in DeadLetterReason}
    reasons = sorted({*plan["due"], *plan["redriven_before"], *plan["attempts_exhausted"]})
    rows = [
        {
            "reason": name,
            "to redrive": plan["due"].get(name, 0),
            "redriven before": plan["redriven_before"].get(name, 0),
            "attempts exhausted": plan["attempts_exhausted"].get(name, 0),
            "redrive helps": advice.get(name, ""),
        }
        for name in reasons
    ]
    _table(console, f"{topic} -> {target}", rows)
    for name, number in plan["would_fail_again"].items():
        console.print(f"as things stand, {number} would fail again: {name}")


def _selection(
    reason: list[str] | None, since: str | None, until: str | None, key: str | None, at: str | None = None
) -> "Selection":
    from worker.dead_letters.survey import Selection

    if unknown := set(reason or ()) - set(DeadLetterReason):
        raise UserError(f"--reason {', '.join(sorted(unknown))}: unknown; use one of {', '.join(DeadLetterReason)}")
    from_ms, to_ms = iso_ms("--from", since), iso_ms("--to", until)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UserError(f"--from {since} is not before --to {until}")
    return Selection(frozenset(reason or ()), from_ms, to_ms, key.encode() if key is not None else None, address(at))


def _table(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=Text(shown(title)), title_justify="left")
    for name in rows[0] if rows else ():
        # Folded, never cut: what is shown may be copied.
        table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row.values()))
    console.print(table if rows else title)


@contextmanager
def _bar(label: str, total: int, as_json: bool) -> Iterator[Callable[[int], None]]:
    console = terminal(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)
