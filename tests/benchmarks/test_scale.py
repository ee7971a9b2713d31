import pytest

from tests.benchmarks.running import benchmark


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_small_run_reports_pace_cost_and_memory_by_modules_and_pace_by_workers() -> None:
    result = benchmark("scale", "--modules", "64", "--modules", "10000", "--readings", "20000")
    few, many = result["by_modules"]["64"], result["by_modules"]["10000"]
    assert (few["readings"], many["readings"]) == (20_000, 40_000)
    assert "bytes_a_module" not in few
    assert 1000 < many["bytes_a_module"] < 20_000
    assert result["by_workers"].keys() == {"1", "2"}
    for figures in (few, many, *result["by_workers"].values()):
        assert figures["readings_per_s"] > 0
        assert figures["cpu_us_a_reading"] > 0
    assert few["rss_bytes"] <= few["peak_rss_bytes"]
