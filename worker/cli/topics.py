"""The `hazardstream topics` commands: create and check."""

from typing import Annotated

import typer

from common.cli_options import BootstrapOption, JsonOption, PipelineOption
from common.errors import UserError
from common.json_text import strict_json
from common.terminal import say

DEFAULT_PARTITIONS = 8

app = typer.Typer(help="Create or check a pipeline's topics.", no_args_is_help=True)


@app.command()
def create(
    pipeline: PipelineOption = None,
    bootstrap: BootstrapOption = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Partitions of each topic. Default: as many as the input topic has if it exists, otherwise "
            f"{DEFAULT_PARTITIONS}.",
        ),
    ] = None,
    replication_factor: Annotated[int, typer.Option(min=1, help="Replicas of each partition.")] = 1,
    add_partitions: Annotated[
        bool,
        typer.Option(
            "--add-partitions",
            help="Add partitions to topics that have fewer. Keys then move to other partitions, where their windows "
            "and alarms start anew.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create the pipeline's missing topics, with the settings that they need.

    Exit code 2 if a topic exists with another number of partitions than --partitions says.

    Example: hazardstream topics create --partitions 24 --replication-factor 3
    """
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka import more_partitions
    from worker.kafka.client_config import admin_client, topic_partitions
    from worker.kafka.reachable import reachable_config
    from worker.kafka.topics import create_topics

    if add_partitions and partitions is None:
        raise UserError("--add-partitions needs --partitions: the number that each topic gets")
    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    loaded, config = load_pipeline(settings.pipeline), reachable_config(settings.bootstrap_servers)
    admin = admin_client(config)
    held = {topic: count for topic, count in topic_partitions(admin).items() if topic in loaded.topics.values()}
    added: dict[str, int] = {}
    if partitions is not None:
        more_partitions.refuse_other_counts(held, partitions, add=add_partitions)
        added = more_partitions.add_partitions(admin, loaded, partitions)
    count = partitions or held.get(loaded.input.topic, DEFAULT_PARTITIONS)
    made = create_topics(admin, loaded, partitions=count, replication_factor=replication_factor, config=config)
    if as_json:
        say(strict_json({"created": made, "had_fewer_partitions": added, "partitions": count}))
        return
    for topic, before in added.items():
        say(f"{topic}: {count} partitions, {before} before")
    if loaded.input.topic in added:
        say(f"warning: {more_partitions.MOVED_KEYS}", err=True)
    if made:
        say(f"created with {count} partitions: {', '.join(made)}")
    elif not added:
        say(f"all topics exist already; {loaded.input.topic} has {count} partitions")


@app.command()
def check(pipeline: PipelineOption = None, bootstrap: BootstrapOption = None, as_json: JsonOption = False) -> None:
    """Check that the pipeline's topics exist and have suitable settings.

    Example: hazardstream topics check --bootstrap broker:9092
    """
    from worker.config.pipeline import load_pipeline
    from worker.config.settings import load_settings
    from worker.kafka.client_config import admin_client
    from worker.kafka.permissions import topic_permissions
    from worker.kafka.reachable import reachable_config
    from worker.kafka.topics import check_topics, warnings

    settings = load_settings(pipeline=pipeline, bootstrap_servers=bootstrap)
    loaded, config = load_pipeline(settings.pipeline), reachable_config(settings.bootstrap_servers)
    admin = admin_client(config)
    if faults := topic_permissions(admin, config, loaded.topics.values(), "Describe") or check_topics(admin, loaded):
        raise UserError("\n".join(faults))
    found = warnings(admin, loaded)
    if as_json:
        say(strict_json({"topics": list(loaded.topics.values()), "warnings": found}))
        return
    for warning in found:
        say(f"warning: {warning}", err=True)
    say("the topics exist and have suitable settings")
