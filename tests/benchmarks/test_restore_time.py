import pytest

from tests.benchmarks.running import benchmark


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_small_run_kills_a_worker_and_times_its_successor() -> None:
    result = benchmark("restore", "--modules", "8")
    takeover = result["takeover"]["8"]
    assert takeover["restored_readings"] > result["start"]["restored_readings"] > 0
    for of in (result["start"], takeover):
        assert 0 < of["group_join_s"] < of["first_commit_s"]
        assert of["until_joining_s"] < of["first_commit_s"]
        assert of["first_commit_less_join_s"] == pytest.approx(of["first_commit_s"] - of["group_join_s"], abs=0.02)
