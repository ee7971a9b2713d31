import json
from pathlib import Path
from typing import Any

import pytest
import typer
from matplotlib.image import imread
from typer.testing import CliRunner

from benchmarks import plan, plots
from benchmarks.latency import CONTENDERS

POINT = {"p50": 10.0, "p99": 40.0, "p99.9": 60.0}
FEW = {"cpu_us_a_reading": 10.0, "readings_per_s": 70_000, "rss_bytes": 300_000_000, "peak_rss_bytes": 400_000_000}
MANY = FEW | {"cpu_us_a_reading": 12.5, "bytes_a_module": 2000}
PACE = {"pace": {"per_s": 1000.0}, "guarantee": "exactly once"}
RESULTS: dict[str, dict[str, Any]] = {
    "throughput": {
        "readings_per_s": dict.fromkeys(CONTENDERS, 50_000),
        "modules": 1000,
        "cpus": 2,
        "bytes_a_reading": {"input": 80, "predictions": 120},
    },
    "latency": {"latency_ms": {name: {"1000": POINT, "10000": POINT} for name in CONTENDERS}},
    "scale": {"by_modules": {"64": FEW, "100000": MANY}},
    "peers": {"peers": {"quix": PACE, "flink": {"not_measured": "no Java"}}, "worker": PACE},
    "restore": {
        "start": {"first_commit_less_join_s": 2.0, "restored_readings": 10},
        "takeover": {
            "64": {"first_commit_less_join_s": 2.5, "restored_readings": 10_000},
            "5000": {"first_commit_less_join_s": 12.0, "restored_readings": 1_000_000},
        },
    },
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    for name, result in RESULTS.items():
        (tmp_path / f"{name}.json").write_text(f"Some words before it.\n{json.dumps(result)}\n")
    return {name: str(tmp_path / f"{name}.json") for name in RESULTS}


def app(command: Any) -> typer.Typer:
    made = typer.Typer()
    made.command()(command)
    return made


def test_each_result_becomes_a_plot_of_its_name(files: dict[str, str], tmp_path: Path) -> None:
    arguments = [files[name] for name in ("throughput", "latency", "scale", "peers")]
    done = CliRunner().invoke(app(plots.main), [*arguments, "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for name in ("throughput", "latency", "scale", "peers"):
        assert imread(tmp_path / f"performance-{name}.png").std() > 0.05, "an empty picture"


@pytest.mark.parametrize("content", ["", "no JSON", '{"something": "else"}'])
def test_what_is_no_result_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(content)
    done = CliRunner().invoke(app(plots.main), [str(tmp_path / "other.json"), "--output", str(tmp_path)])
    assert done.exit_code == 2
    assert "--json" in done.output


def test_the_plan_follows_from_what_was_measured() -> None:
    cost = plan.cost_model(RESULTS["throughput"], RESULTS["scale"], RESULTS["restore"])
    assert cost["replayed_readings_per_s"] == pytest.approx(1_000_000 / 10)
    found = plan.plan(1_000_000, cost)
    assert found["readings/s"] == 100_000
    assert found["workers (a core each)"] == 3  # 100,000/s of 12.5 us take 1.25 cores, of which half are planned for
    assert found["partitions"] == 12
    assert found["memory a worker, MB"] == pytest.approx(1e6 / 3 * 2000 / 1e6 + 300)
    assert found["produced, input and predictions, MB/s"] == pytest.approx(20)
    assert found["brokers"] == 3


def test_the_plan_is_told_as_a_table(files: dict[str, str]) -> None:
    done = CliRunner().invoke(app(plan.main), [files[name] for name in ("throughput", "scale", "restore")])
    assert done.exit_code == 0, done.output
    assert "10,000,000 modules" in done.output
