"""The `dlq` commands on a stage."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.commands import hazardstream
from tests.harness import Stage
from tests.repository import ROOT


def start(stage: Stage, *arguments: str, launcher: tuple[str, ...] = ("-m", "hazardstream")) -> subprocess.Popen[str]:
    """A process that runs a `dlq` command."""
    return subprocess.Popen(
        [sys.executable, *launcher, "dlq", *arguments],
        env=os.environ | _environment(stage),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def dlq(stage: Stage, *arguments: str) -> dict[str, Any]:
    """What a `dlq` command says with --json."""
    done = hazardstream("dlq", *arguments, "--json", **_environment(stage))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _environment(stage: Stage) -> dict[str, str]:
    return {
        "HAZARDSTREAM_PIPELINE": str(stage.pipeline_file),
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap,
        **({"SCHEMA_REGISTRY_URL": stage.registry_url} if stage.registry_url else {}),
    }
