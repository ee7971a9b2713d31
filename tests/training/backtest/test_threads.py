"""A backtest in two threads: as one thread would do it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backtests import recording, run, saved
from training.backtest import run as module
from training.backtest.threads import in_threads, shares
from worker.model.package import ModelPackage


def test_neighbours_with_about_as_many_readings() -> None:
    assert shares({0: 10, 1: 10, 2: 10, 3: 10}, 2) == [range(2), range(2, 4)]
    assert shares({0: 90, 1: 5, 4: 5}, 2) == [range(1), range(1, 5)]
    assert shares({0: 5, 1: 5, 2: 90}, 2) == [range(3)]
    assert shares({7: 1}, 2) == [range(8)]


def test_if_one_fails_the_other_stops() -> None:
    def work(part: range) -> Iterator[None]:
        while part.start:
            yield
        raise ValueError(part)
        yield

    with pytest.raises(ValueError, match="range"):
        in_threads(work, [range(1), range(1, 2)])


def test_one_thread_or_several_find_the_same(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        saved(recording(name, hours=2, runaway_h=1.8 if name != "b" else None), tmp_path / f"{name}.csv")
    two = run(package, tmp_path, label_column="hazard")
    monkeypatch.setattr(module, "shares", lambda readings: shares(readings, 1))
    one = run(package, tmp_path, label_column="hazard")
    assert one.judged.detected == 2
    for found in ("alarms", "judged", "swept", "outside", "fed", "scored", "days", "normal_days", "short"):
        assert getattr(one, found) == getattr(two, found), found
