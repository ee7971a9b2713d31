"""The `dlq` commands on a stage, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.harness import Stage

HERE = Path(__file__).parents[1]


def start(stage: Stage, *arguments: str, launcher: tuple[str, ...] = ("-m", "hazardstream")) -> subprocess.Popen[str]:
    """A `dlq` command at work."""
    environment = {
        **os.environ,
        "HAZARDSTREAM_PIPELINE": str(stage.pipeline_file),
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap,
        **({"SCHEMA_REGISTRY_URL": stage.registry_url} if stage.registry_url else {}),
    }
    return subprocess.Popen(
        [sys.executable, *launcher, "dlq", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE,
    )


def dlq(stage: Stage, *arguments: str) -> dict[str, Any]:
    """What a `dlq` command says with --json."""
    process = start(stage, *arguments, "--json")
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer
