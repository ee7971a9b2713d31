"""A short form of `python -m tests.late_requests`, and proof that it finds the fault that it is there for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.late_requests.run import DEFENDED, Launcher, Result, Site, late_site, run_schedule
from tests.late_requests.schedules import LEAST, Schedule, schedules

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300), pytest.mark.xdist_group("late_requests")]
STEPS = 120
UNDEFENDED: Launcher = ("-m", "tests.late_requests.undefended")
SCHEDULES = {schedule.name: schedule for schedule in schedules(7)}
COMMIT = SCHEDULES["commit delayed until offsets are added; reset"]
ABORT = SCHEDULES["abort delayed until records are there; reset"]
OFFSETS = SCHEDULES["TxnOffsetCommit and commit delayed, in turn; reset"]

HARMFUL = [COMMIT, OFFSETS, SCHEDULES["commit duplicated; reset; killed later"]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with late_site(tmp_path_factory.mktemp("late")) as started:
        yield started


def run_side_by_side(site: Site, runs: list[tuple[Schedule, Launcher]], prefix: str) -> list[Result]:
    with ThreadPoolExecutor(len(runs)) as pool:
        futures = [
            pool.submit(run_schedule, site, way, schedule, f"{prefix}{number}", 7, launcher, STEPS)
            for number, (way, (schedule, launcher)) in enumerate(zip(site.ways, runs, strict=False))
        ]
        return [future.result() for future in futures]


def test_late_requests_change_nothing(site: Site) -> None:
    results = run_side_by_side(site, [(schedule, DEFENDED) for schedule in (COMMIT, ABORT, OFFSETS)], "defended")
    for result in results:
        assert not any(result.faults.values()), (result.line(), result.examples)
        assert result.notes["renewals"], result.line()


def test_without_renewal_late_requests_lose_or_double_records(site: Site) -> None:
    """The harness can find the fault that it is there for. Each schedule does so often, none of them each time."""
    lines = []
    for attempt in range(3):
        results = run_side_by_side(site, [(each, UNDEFENDED) for each in HARMFUL], f"undefended{attempt}-")
        lines += [result.line() for result in results]
        assert all(result.faults["not_injected"] == result.notes["renewals"] == 0 for result in results), lines
        if sum(result.faults["missing"] + result.faults["duplicated"] for result in results):
            return
    pytest.fail(f"nothing lost and nothing doubled: {lines}")


def test_the_schedules_are_many_and_the_same_for_a_seed() -> None:
    assert len(SCHEDULES) == len(list(schedules(7))) >= LEAST
    assert list(schedules(7)) == list(SCHEDULES.values()) != list(schedules(8))
    assert {schedule.kill for schedule in SCHEDULES.values()} == {"never", "at once", "later"}
