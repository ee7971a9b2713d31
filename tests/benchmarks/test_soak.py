"""The soak's judgement, on looks made up; and a short run of the whole."""

import pytest

from benchmarks.soak import Look, most_lines_a_minute, not_flat, too_talkative
from tests.benchmarks.running import benchmark


def looks(*, rss_mb: float = 0.0, files: float = 0.0, threads: float = 0.0, lines: float = 0.0) -> list[Look]:
    """Every 2 s for ten minutes; what is given grows by so much a minute."""
    return [
        Look(s, 250.0 + rss_mb * s / 60, 30 + int(files * s / 60), 20 + int(threads * s / 60), int(lines * s / 60))
        for s in range(0, 600, 2)
    ]


def test_a_worker_that_stays_as_it_is_is_flat() -> None:
    assert not_flat(looks(), 180.0) == []
    assert too_talkative(looks(lines=59)) == []


@pytest.mark.parametrize("growing", ["rss_mb", "files", "threads"])
def test_what_grows_is_reported_by_name(growing: str) -> None:
    (told,) = not_flat(looks(**{growing: 5.0}), 180.0)
    assert told.startswith({"rss_mb": "rss_mb", "files": "file_descriptors", "threads": "threads"}[growing])
    assert "grew from" in told


def test_what_grows_during_the_warm_up_alone_is_not_counted() -> None:
    settled = [look._replace(rss_mb=100.0 + min(look.at_s, 170.0)) for look in looks()]
    assert not_flat(settled, 180.0) == []


def test_a_minute_with_too_many_lines_is_found_wherever_it_lies() -> None:
    burst = [look._replace(log_lines=80 if look.at_s > 300 else 0) for look in looks()]
    assert most_lines_a_minute(burst) == 80
    assert "80 log lines" in too_talkative(burst)[0]


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_a_short_run_loses_and_doubles_nothing() -> None:
    result = benchmark("soak", "--minutes", "0.5", "--rate", "500")
    assert result["readings"] == 15_000
    assert result["unknown_schemas"] > 0
    assert result["rss_mb"]["most"] > 50
