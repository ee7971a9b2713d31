"""The `hazardstream` command as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def hazardstream(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hazardstream", *arguments],
        capture_output=True,
        text=True,
        cwd=HERE,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )
