"""Kill sinks at random while records flow, and compare what is stored with the topics.

Example:
    python -m tests.sink_chaos --kills 20 --json
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from local.kafka import broker
from tests.harness import make_stage
from tests.postgresql import new_database, postgresql
from tests.sink_kills import kill_while_records_flow
from tests.sink_scene import Scene

MUST_BE_ZERO = ("missing", "doubled", "differing", "foreign")


def main(
    kills: Annotated[int, typer.Option(min=1, help="Of the sink of each destination.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the moments.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Exit code 0 only if in SQLite, PostgreSQL and Parquet nothing is missing, doubled or different."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="hazardstream-sink-") as name:
        directory = Path(name)
        with broker(directory / "kafka") as bootstrap, postgresql(directory) as server:
            places = {
                "sqlite": f"sqlite:///{directory}/sink.sqlite",
                "postgresql": new_database(server),
                "parquet": f"parquet:{directory}/parquet",
            }
            for kind, to in places.items():
                own = directory / kind
                own.mkdir()
                scene = Scene(make_stage(bootstrap, f"{kind}.", own, Path()))
                found[kind] = {"kills": kills} | kill_while_records_flow(scene, to, kills, seed)
                typer.echo(f"{kind}: {found[kind]}", err=True)
    if as_json:
        typer.echo(json.dumps(found))
    wrong = any(of_kind[fault] for of_kind in found.values() for fault in MUST_BE_ZERO)
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
