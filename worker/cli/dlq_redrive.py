"""`hazardstream dlq redrive` at work: survey the dead letters, show the plan, ask, send, report."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
from rich.console import Console

from common.json_text import strict_json
from common.terminal import say, terminal
from schemas.registry import registry_at, writer_schema_lookup
from worker.cli.dlq_view import advice, counter, print_table, survey_topic
from worker.config.pipeline import load_pipeline
from worker.config.settings import Settings
from worker.dead_letters.recheck import Recheck
from worker.dead_letters.redrive import Originals, Preview, Result, input_topic, open_publisher, preview, redrive
from worker.dead_letters.survey import Selection, Survey, letters
from worker.kafka.reachable import reachable_config
from worker.kafka.topic_reader import TopicReader


class Request(NamedTuple):
    """What the operator asks for, by the options of the command."""

    selection: Selection
    max_attempts: int
    dry_run: bool
    yes: bool
    as_json: bool


def run(settings: Settings, request: Request) -> None:
    """Redrive the selected letters that are due, and print the result.

    Raises:
        UserError: another redrive has taken over, or a topic is missing.
        DependencyDownError: broker or registry does not answer.
    """
    pipeline, as_json = load_pipeline(settings.pipeline), request.as_json
    topic, config = pipeline.outputs.dead_letters.topic, reachable_config(settings.bootstrap_servers)
    console = terminal(stderr=as_json)
    result, foreseen = Result(), Preview()
    with TopicReader(config) as reader, TopicReader(config) as second_reader:
        source = input_topic(config, second_reader, pipeline.input.topic)
        originals = Originals(second_reader, source)
        # Opened before the survey, which would not see what another running redrive commits after it.
        publisher = None if request.dry_run else open_publisher(config, reader, source, topic)
        surveyed = survey_topic(reader, topic, request.selection, as_json=as_json, committed=request.dry_run)
        due = surveyed.addresses(lambda of: ~of.redriven & (of.attempts < request.max_attempts))
        count = sum(map(len, due.values()))
        if request.dry_run or not request.yes:
            lookup = writer_schema_lookup(registry_at(settings.registry_url), pipeline.known_schemas)
            recheck = Recheck(pipeline.input, lookup, log_append_time=source.log_append_time)
            with counter("checking", count, as_json=as_json) as progress:
                foreseen = preview(letters(reader, topic, due), originals, source, recheck, progress)
        plan = _plan(surveyed, request.max_attempts, foreseen)
        if not as_json:
            _print_plan(console, plan, f"{topic} → {source.name}")
        question = f"Redrive {count} dead letters?"
        if publisher is not None and count and (request.yes or typer.confirm(question, abort=True)):
            with counter("redriving", count, as_json=as_json) as progress:
                redrive(letters(reader, topic, due), originals, publisher, source, topic, result, progress)
    skipped = dict(foreseen.skipped if request.dry_run else result.skipped)
    if as_json:
        done = {"topic": topic, "to": source.name, "dry_run": request.dry_run, "redriven": result.redriven}
        say(strict_json(done | {"skipped": skipped} | plan))
        return
    for why, number in skipped.items():
        console.print(f"not sent: {number} dead letters {why}")
    console.print("dry run: nothing was sent" if request.dry_run else f"redriven: {result.redriven}")


def _plan(surveyed: Survey, max_attempts: int, foreseen: Preview) -> dict[str, Any]:
    return {
        "due": surveyed.counts(lambda of: ~of.redriven & (of.attempts < max_attempts)),
        "redriven_before": surveyed.counts(lambda of: of.redriven),
        "attempts_exhausted": surveyed.counts(lambda of: ~of.redriven & (of.attempts >= max_attempts)),
        "would_fail_again": dict(foreseen.fail_again),
    }


def _print_plan(console: Console, plan: Mapping[str, Any], title: str) -> None:
    reasons = sorted({*plan["due"], *plan["redriven_before"], *plan["attempts_exhausted"]})
    rows = [
        {
            "reason": reason,
            "to redrive": plan["due"].get(reason, 0),
            "redriven before": plan["redriven_before"].get(reason, 0),
            "attempts exhausted": plan["attempts_exhausted"].get(reason, 0),
        }
        for reason in reasons
    ]
    print_table(console, title, rows)
    for reason in reasons:
        console.print(f"A redrive of {reason} helps: {advice(reason)}")
    for reason, number in plan["would_fail_again"].items():
        console.print(f"{number} of them would fail now: {reason}")
