"""What the process that loads a model first gets from its environment."""

import subprocess
from typing import Any

import pytest

from tests.flagship import SHIPPED_MODEL
from worker.admission.sandboxed_load import load_in_sandbox
from worker.model.package_files import read_package


@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("3", "3")])
def test_it_computes_with_one_thread_unless_told_otherwise_and_gets_no_secrets(
    monkeypatch: pytest.MonkeyPatch, given: str | None, threads: str
) -> None:
    environments: list[dict[str, str]] = []

    def run(command: list[str], **more: Any) -> "subprocess.CompletedProcess[bytes]":
        environments.append(more["env"])
        return subprocess.CompletedProcess(command, 0, stdout=b"passed", stderr=b"")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)

    load_in_sandbox(read_package(SHIPPED_MODEL), "1", None, max_ms=1, trusted=False)

    assert environments[0]["OMP_NUM_THREADS"] == threads
    assert "AWS_SECRET_ACCESS_KEY" not in environments[0]
