import pytest

from tests.benchmarks.running import benchmark

STAGES = {"decode", "validate", "features", "score", "alarms", "encode"}


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_small_run_reports_the_time_of_each_stage_by_batch_size_and_on_kafka() -> None:
    result = benchmark("stages", "--readings", "20000")
    assert result["in_process_us"].keys() == {"100", "1000", "10000"}
    on_kafka = result["on_kafka"]
    assert on_kafka["stages_us"].keys() >= STAGES | {"publish"}
    for by_stage in (*result["in_process_us"].values(), on_kafka["stages_us"]):
        assert all(by_stage[stage] > 0 for stage in STAGES)
        whole = by_stage.pop("all")
        assert whole == pytest.approx(sum(by_stage.values()), abs=0.05)
    assert on_kafka["clock_us"] == pytest.approx(1e6 / on_kafka["readings_per_s"], rel=0.01)
