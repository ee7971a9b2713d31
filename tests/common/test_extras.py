"""Commands in an installation that lacks the packages they need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.partial_install import partial_install

# The command: the extras that it asks for.
NEEDED = {
    "demo": "local",
    "run churn": "local,training",
    "train": "training",
    "tune --storage tried.db --output boosting.json": "training",
    "compare": "training",
    "evaluate": "training",
    "evaluate-recordings .": "training",
    "backtest recording.csv": "training",
    "promote": "training",
    "retrain": "training",
    "drift --report page": "training",
    "model register": "training",
    "churn train": "training",
    "churn promote 1": "training",
    "churn fallback": "training",
    "churn monitor": "training",
    "replay recording.csv": "replay",
    "sink": "sink",
    "logs": "sink",
    "stats": "sink",
}
_RUN_ALL = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from hazardstream.cli import main

said = {}
for command in json.loads(sys.argv[1]):
    sys.argv[1:], err = command.split(), io.StringIO()
    with redirect_stderr(err), redirect_stdout(err):
        try:
            main()
        except SystemExit as end:
            said[command] = [end.code, err.getvalue()]
        except BaseException as error:
            said[command] = [None, repr(error)]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int | None, str]]:
    """The exit code and the text of each command in a base installation, run in an empty folder."""
    base = partial_install(tmp_path_factory.mktemp("base"))
    empty = tmp_path_factory.mktemp("empty")
    (empty / "recording.csv").write_text("ts\n")
    done = _python(base, empty, "-c", _RUN_ALL, json.dumps(list(NEEDED)))
    return {command: (code, text) for command, (code, text) in json.loads(done.stdout).items()}


def _python(installed: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(installed), **variables}
    command = [sys.executable, "-S", "-P", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("command", NEEDED)
def test_a_command_names_the_extra_that_it_needs(command: str, said: dict[str, tuple[int | None, str]]) -> None:
    code, text = said[command]
    assert code == 2, text
    assert f"pip install 'hazardstream[{NEEDED[command]}]'" in text


@pytest.mark.slow  # imports the libraries of models
def test_the_shipped_model_scores_in_a_base_installation(tmp_path: Path) -> None:
    (base := tmp_path / "base").mkdir()
    (empty := tmp_path / "empty").mkdir()
    arguments = ["-m", "hazardstream", "pipeline", "test", "battery_hazard"]
    done = _python(partial_install(base), empty, *arguments, HAZARDSTREAM_MODEL="bundled")
    assert "0 failed" in done.stdout


@pytest.mark.slow  # imports nearly everything
def test_the_demo_needs_its_extra_alone(tmp_path: Path) -> None:
    """All that it imports; `make demo` runs it in such an environment."""
    (installed := tmp_path / "local").mkdir()
    done = _python(
        partial_install(installed, "local"), tmp_path, "-c", "import local.demo, local.cli, hazardstream.cli"
    )
    assert not done.stderr
