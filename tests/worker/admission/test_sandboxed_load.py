"""What the process that loads a model first gets from its environment."""

import signal
import subprocess
from typing import Any

import pytest

from tests.flagship import SHIPPED_MODEL
from worker.admission.sandboxed_load import load_in_sandbox
from worker.model.package_files import PackageError, read_package


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


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (-signal.SIGXCPU, "takes more than 120 s of processor time"),
        (subprocess.TimeoutExpired("check", 600), "takes more than 600 s"),
    ],
)
def test_a_model_whose_check_does_not_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, ends: int | subprocess.TimeoutExpired, said: str
) -> None:
    def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[bytes]":
        if isinstance(ends, int):
            return subprocess.CompletedProcess(command, ends, stdout=b"", stderr=b"")
        raise ends

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(PackageError, match=said) as caught:
        load_in_sandbox(read_package(SHIPPED_MODEL), "1", None, max_ms=1, trusted=False)
    assert caught.value.fault == "too_slow"
