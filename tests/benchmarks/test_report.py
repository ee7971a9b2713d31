import json
from pathlib import Path
from typing import Any

import pytest
import typer
from matplotlib.image import imread
from typer.testing import CliRunner

from benchmarks import plan
from benchmarks.latency import CONTENDERS
from benchmarks.report import TABLES, main
from tests.repository import ROOT

POINT = {"p50": 10.0, "p99": 40.0, "p99.9": 60.0, "max": 70.0}
FEW = {
    "readings": 300_000,
    "cpu_us_a_reading": 10.0,
    "readings_per_s": 70_000,
    "rss_bytes": 300_000_000,
    "peak_rss_bytes": 400_000_000,
}
MANY = FEW | {"cpu_us_a_reading": 12.5, "bytes_a_module": 2000}
PEER = {
    "pace": {"per_s": 1000.0, "per_cpu_s": 2000.0},
    "guarantee": "exactly once",
    "version": "1.0",
    "gives_up": "much",
}
OURS = {"pace": {"per_s": 70_000.0, "per_cpu_s": 90_000.0}}
START = {"first_commit_less_join_s": 2.0, "restored_readings": 10}
START |= dict.fromkeys(("until_joining_s", "group_join_s", "first_commit_s"), 1.0)
RESULTS: dict[str, dict[str, Any]] = {
    "throughput": {
        "readings": 300_000,
        "readings_per_s": dict.fromkeys(CONTENDERS, 50_000),
        "readings_per_cpu_s": dict.fromkeys(CONTENDERS, 61_000),
        "modules": 1000,
        "bytes_a_reading": {"input": 80, "predictions": 120},
        "metrics_answer_ms": {"p50": 3.0, "p99": 12.0},
        "faults": {name: [] for name in CONTENDERS},
    },
    "latency": {
        "seconds": 10,
        "modules": 1000,
        "latency_ms": {name: {"1000": POINT, "10000": POINT} for name in CONTENDERS},
    },
    "scale": {"by_modules": {"64": FEW, "100000": MANY}, "by_workers": {"2": FEW}},
    "peers": {"peers": {"quix": PEER, "flink": {"not_measured": "no Java", "version": "2.0"}}, "worker": OURS},
    "restore": {
        "start": START,
        "takeover": {
            "64": START | {"first_commit_less_join_s": 2.5, "restored_readings": 10_000},
            "5000": START | {"first_commit_less_join_s": 12.0, "restored_readings": 1_000_000},
        },
    },
    "stages": {
        "in_process_us": {"100": {"decode": 9.0, "all": 9.0}},
        "on_kafka": {
            "stages_us": {"decode": 1.0, "publish": 2.0, "all": 3.0},
            "readings_per_s": 70_000,
            "batch_messages": 4000,
            "clock_us": 14.0,
            "cpu_us": 12.0,
        },
    },
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a place for all of it, and results beside it."""
    for name, result in RESULTS.items():
        (tmp_path / f"{name}.json").write_text(f"Some words before it.\n{json.dumps({'cpus': 2} | result)}\n")
    page = tmp_path / "page.md"
    page.write_text("".join(f"# {name}\n<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in [*RESULTS, "plan"]))
    return page


def report(page: Path) -> Any:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, [str(page.parent), "--page", str(page)])


def test_every_result_comes_into_the_page_with_the_command_that_printed_it_and_a_plot(page: Path) -> None:
    done = report(page)
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert "old" not in text
    assert all(f"`python -m benchmarks.{name} --json`, 2 CPUs" in text for name in RESULTS)
    assert "| exactly_once | 50,000 | 100% | 61,000 | every reading exactly once |" in text
    assert "| 10,000 | exactly_once | 10.0 | 40.0 | 60.0 | 70.0 |" in text
    assert "| 100,000 modules | 300,000 | 70,000 | 12.5 | 300 | 400 | 2,000 |" in text
    assert "| Quix Streams | 1.0 | 1,000 | 70.0 x | 2,000 | exactly once | much |" in text
    assert "10,000,000 modules" in text
    for name in ("throughput", "latency", "scale", "peers"):
        assert imread(page.parent / f"performance-{name}.png").std() > 0.05, "an empty picture"


def test_what_has_no_result_stays_as_it_is(page: Path) -> None:
    for name in RESULTS.keys() - {"scale"}:
        (page.parent / f"{name}.json").unlink()
    assert report(page).exit_code == 0
    assert page.read_text().count("\nold\n") == len(RESULTS)


def test_a_page_without_a_place_for_it_is_left_alone_and_reported(page: Path) -> None:
    page.write_text("Nothing here.")
    done = report(page)
    assert done.exit_code == 2
    assert "<!-- throughput -->" in done.output
    assert page.read_text() == "Nothing here."


def test_our_own_page_has_a_place_for_all() -> None:
    text = (ROOT / "docs/performance.md").read_text()
    for name in [*TABLES, "plan"]:
        assert text.index(f"<!-- {name} -->") < text.index(f"<!-- /{name} -->")


def test_the_plan_follows_from_what_was_measured() -> None:
    cost = plan.cost_model(RESULTS["throughput"], RESULTS["scale"], RESULTS["restore"])
    assert cost["replayed_readings_per_s"] == pytest.approx(1_000_000 / 10)
    found = plan.plan(1_000_000, cost)
    assert found["readings/s"] == 100_000
    assert found["workers (one core each)"] == 3  # 100,000/s of 12.5 us take 1.25 cores, of which half are planned for
    assert found["partitions"] == 12
    assert found["memory per worker, MB"] == pytest.approx(1e6 / 3 * 2000 / 1e6 + 300)
    assert found["produced, input and predictions, MB/s"] == pytest.approx(20)
    assert found["brokers"] == 3
