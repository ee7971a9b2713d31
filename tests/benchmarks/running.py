"""Runs a benchmark as a user does."""

import json
import subprocess
import sys
from typing import Any

from tests.repository import ROOT


def benchmark(name: str, *arguments: str) -> dict[str, Any]:
    """The object that it prints; it must have found nothing wrong with the output."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=230, check=False)
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert result["faults"]
    assert not any(result["faults"].values())
    return result
