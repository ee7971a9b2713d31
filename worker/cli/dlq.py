"""The `hazardstream dlq` commands for dead letters: list, show, redrive."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from common.cli_options import BootstrapOption, JsonOption, PipelineOption, RegistryOption, address, iso_ms
from common.dead_letter_reasons import DeadLetterReason
from common.errors import UserError
from common.json_text import strict_json
from common.terminal import say, terminal

if TYPE_CHECKING:
    from worker.dead_letters.survey import Selection

app = typer.Typer(help="Count dead letters, show them, and send them back after a fix.", no_args_is_help=True)

ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="Only this reason; repeat it for several.")
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Only originals with this Kafka timestamp or later (ISO 8601, UTC)."),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Only originals with a Kafka timestamp before this.")
]
KeyOption = Annotated[str | None, typer.Option("--key", help="Only dead letters with this message key.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="PARTITION/OFFSET",
        help="Only the letter at this partition and offset of the dead-letter topic.",
    ),
]

_REDRIVE_HELP = """Send dead letters back to the input topic, after you have fixed the cause.

Each letter is sent once, to the partition that it came from. If it fails
again, it becomes a new letter, whose attempt number is one higher.

A redriven reading counts as arriving now: it is late if its key has sent
much newer readings since (docs/dead-letters.md).

`hazardstream dlq list` says for each reason when to redrive.

Example: hazardstream dlq redrive --reason unknown_schema --dry-run
"""


@app.command("list")
def list_letters(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    reason: ReasonOption = None,
    since: FromOption = None,
    until: ToOption = None,
    key: KeyOption = None,
    top_keys: Annotated[int, typer.Option(min=0, metavar="N", help="Also list the N keys with most dead letters.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by reason. Says what each reason means and when to redrive.

    First and last are Kafka timestamps of the original records.

    Example: hazardstream dlq list --from 2026-01-31T12:00:00Z --top-keys 10
    """
    from worker.cli.dlq_view import counts_by_reason, print_counts, survey_topic
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka.reachable import reachable_config
    from worker.kafka.topic_reader import TopicReader

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    topic = load_pipeline(settings.pipeline).outputs.dead_letters.topic
    selection = _selection(reason, since, until, key)
    with TopicReader(reachable_config(settings.bootstrap_servers)) as reader:
        surveyed = survey_topic(reader, topic, selection, as_json=as_json, count_keys=top_keys > 0)
    counts = counts_by_reason(topic, surveyed, top_keys)
    if as_json:
        say(strict_json(counts))
    else:
        print_counts(terminal(), counts)


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
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N dead letters.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show dead letters, the rules they break, and what a worker would do with them now.

    Records are shown as far as they can be decoded. "Now" means with the current pipeline file and schema registry.

    Example: hazardstream dlq show --reason malformed --limit 3
    """
    from schemas.registry import registry_at, writer_schema_lookup
    from worker.cli.dlq_view import describe, print_letter, survey_topic
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.dead_letters.recheck import Recheck
    from worker.dead_letters.redrive import input_topic
    from worker.dead_letters.survey import letters
    from worker.kafka.reachable import reachable_config
    from worker.kafka.topic_reader import TopicReader

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    loaded = load_pipeline(settings.pipeline)
    topic, config = loaded.outputs.dead_letters.topic, reachable_config(settings.bootstrap_servers)
    selection = _selection(reason, since, until, key, at)
    lookup = writer_schema_lookup(registry_at(settings.registry_url), loaded.known_schemas)
    reader_schema = loaded.input.avro_schema
    with TopicReader(config) as reader:
        source = input_topic(config, reader, loaded.input.topic)
        recheck = Recheck(loaded.input, lookup, log_append_time=source.log_append_time)
        surveyed = survey_topic(reader, topic, selection, as_json=as_json)
        first = surveyed.addresses(lambda of: of.reason > 0, limit)
        shown = [
            describe(letter, recheck, lookup, reader_schema, redriven=surveyed.is_redriven(letter))
            for letter in letters(reader, topic, first)
        ]
    matching = sum(surveyed.counts(lambda of: of.reason > 0).values())
    if as_json:
        say(strict_json({"topic": topic, "matching": matching, "letters": shown}))
        return
    console = terminal()
    for letter in shown:
        print_letter(letter, console)
    console.print(f"{len(shown)} of {matching} matching dead letters in {topic}")


@app.command(help=_REDRIVE_HELP)
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
        int, typer.Option(min=1, max=100, metavar="N", help="Leave dead letters that were redriven N times before.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send without asking for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back; the help text is `_REDRIVE_HELP`."""
    from worker.cli.dlq_redrive import Request, run
    from worker.config.settings import load_settings

    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UserError(
            "no terminal to ask for confirmation; add --yes to send, or --dry-run to see what would be sent"
        )
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap, registry_url=registry)
    run(settings, Request(_selection(reason, since, until, key, at), max_attempts, dry_run, yes, as_json))


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
