"""The suite's own way of sharing a broker, tried on a small suite of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

CONFTEST = """
from contextlib import contextmanager
from pathlib import Path
import pytest
from tests.shared_server import join_run, leave_run, shared_server

def record(what):
    with Path(__file__).with_name("record").open("a") as file:
        file.write(f"{what}\\n")

@contextmanager
def server(directory):
    record("start")
    yield "address"
    record("stop")

@pytest.fixture(scope="session")
def address(pytestconfig):
    return shared_server(pytestconfig, "server", server)

def pytest_sessionstart(session):
    join_run(session)

def pytest_sessionfinish(session):
    leave_run(session)
"""
TESTS = """
import pytest
from conftest import record


@pytest.mark.parametrize("n", range(20))
def test_uses(address, n):
    assert address == "address"
    record("use")

def test_needs_nothing():
    pass
"""


def run(suite: Path, *arguments: str) -> list[str]:
    (suite / "conftest.py").write_text(CONFTEST)
    (suite / "test_it.py").write_text(TESTS)
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={suite}", f"--basetemp={suite / 'base'}"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, *arguments, str(suite)],
        check=True,
        cwd=suite,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT / "tests")},
        timeout=120,
    )
    record = suite / "record"
    return record.read_text().split() if record.exists() else []


@pytest.mark.slow  # runs pytest in a process of its own
@pytest.mark.parametrize("workers", [(), ("-n", "3")])
def test_one_server_is_started_for_all_and_stopped_after_the_last_use(tmp_path: Path, workers: tuple[str, ...]) -> None:
    assert run(tmp_path, *workers) == ["start", *["use"] * 20, "stop"]


@pytest.mark.slow  # runs pytest in a process of its own
def test_no_server_is_started_when_no_selected_test_needs_it(tmp_path: Path) -> None:
    assert run(tmp_path, "-k", "needs_nothing") == []
