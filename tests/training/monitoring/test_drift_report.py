"""What the page and the messages show can be told apart and read."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from tests.drift_sites import START_MS
from training.monitoring.drift.check import Watched
from training.monitoring.drift.events import DriftEvent, told_apart
from training.monitoring.performance.labels import EVENT, Label
from training.monitoring.performance.rolling import Figures, figures
from training.monitoring.plots import plot_over_time
from training.monitoring.report import write_report
from training.monitoring.watch import Look
from worker.config.pipeline import Performance


def page_of(found: Figures, directory: Path) -> str:
    page = write_report(Look([], {}, found, [], []), directory).read_text()
    return re.sub("<style>.*?</style>", "", page, flags=re.DOTALL)


def test_performance_is_reported_in_words_and_times(tmp_path: Path) -> None:
    labels = [Label("A", START_MS, EVENT), Label("B", START_MS - 60_000, EVENT)]
    text = page_of(figures([], labels, {}, Performance(), ("m", "3")), tmp_path)
    for words in (
        "A at 2026-01-01T00:00:00Z, B at 2025-12-31T23:59:00Z",
        "<td>data until</td><td>2026-01-01T00:00:00Z</td>",
        "<td>2: 0 warned of in time, 0 alarmed only afterwards</td>",
        "<td>0.00 (95 % confidence: 0.00 to 0.84)</td>",
        "<td>not known: no alarm is confirmed or marked as false</td>",
        "<td>m 3</td>",
    ):
        assert words in text
    assert not re.search(r"\d{13}|[({]&#(x27|39);|None|_", text)


@pytest.mark.parametrize("subjects", [3, 12, 40])
def test_each_line_of_a_plot_has_a_colour_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subjects: int
) -> None:
    value = np.linspace(0, 1, 5 * subjects).reshape(5, subjects)
    names = tuple(f"column {s}" for s in range(subjects))
    ts = np.arange(5, dtype=np.int64) + START_MS
    monkeypatch.setattr(plt, "close", lambda _figure: None)
    plot_over_time(Watched("drift", "a", names, ts, value, np.ones(subjects), value > 1), tmp_path / "plot.png")
    monkeypatch.undo()
    lines = [line for line in plt.gca().lines if str(line.get_label()).startswith("column")]
    plt.close()
    assert len({to_hex(line.get_color()) for line in lines}) == len(lines) == min(subjects, 12)


def test_a_message_shows_that_the_value_is_over_its_limit() -> None:
    def message(kind: str, value: float, limit: float) -> str:
        return str(DriftEvent("a", kind, "x", "ACTIVE", 0, value, limit, ("m", "1")).record()["message"])

    assert "38.4% of the readings (limit 37.6%)" in message("missing", 0.384, 0.376)
    assert "100% of the readings (limit 11%)" in message("missing", 1.0, 0.11)
    assert "distance 0.1504, limit 0.1500" in message("drift", 0.1504, 0.15)
    assert "0.3% of the readings" in message("schema", 0.003, 0.0)


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([("%", 0), ("f", 2)]))
def test_a_value_and_its_limit_read_the_same_only_where_they_are_nearly(
    value: float, limit: float, form: tuple[str, int]
) -> None:
    one, other = told_apart(value, limit, *form)
    assert one != other or abs(value - limit) <= 1e-6
