"""The benchmark of scoring over HTTP, in small."""

import json

from typer.testing import CliRunner

from benchmarks.http import app


def test_it_measures_and_no_hostile_request_gets_a_500() -> None:
    done = CliRunner().invoke(app, ["--rate", "5", "--seconds", "1", "--hostile", "100", "--json"])

    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 0 < figures["single_p50"] <= figures["single_p99"]
    assert 0 < figures["batch_p50"] <= figures["batch_p99"]
    assert sum(figures["hostile"].values()) == 100
    assert figures["errors_500"] == 0
