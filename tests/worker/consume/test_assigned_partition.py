"""What is known of a partition ends with its assignment; and partitions that make no progress are reported."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition

from tests.flagship import PIPELINE
from worker.alarms.alarms import Alarms
from worker.consume.assigned_partition import AssignedPartition, Hold, Standstill, UnreadableBatch
from worker.consume.assignment import Assignment
from worker.consume.progress import STALLED_AFTER_S, stalled
from worker.observe.metrics import Metrics
from worker.windows.partition import Partition

REBUILT_TO = 8


def ready(number: int, next_offset: int) -> AssignedPartition:
    assigned = AssignedPartition(number)
    assigned.partition = Partition(number, next_offset, next_offset)
    return assigned


class Consumer:
    """A consumer that owns whatever it is given, and notes nothing."""

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        """Accept any partitions."""

    def pause(self, places: list[TopicPartition]) -> None:
        """Accept any partitions."""

    def assignment(self) -> list[TopicPartition]:
        return []


@pytest.fixture
def assignment() -> Assignment:
    """An assignment without Kafka, with partition 0, which has everything that a partition can have."""
    revoked: list[int] = []
    scorer = SimpleNamespace(
        revoke=lambda partition: revoked.append(partition.number), revoked=revoked, aggregates=None, alarms=Alarms(None)
    )
    no_admin: Any = None
    metrics = Metrics()
    made = Assignment(cast("Any", Consumer()), no_admin, {}, PIPELINE, cast("Any", scorer), no_admin, metrics)
    full = made.assigned[0] = ready(0, 5)
    full.hold, full.unreadable = Hold(1e9, "held"), UnreadableBatch(5, "unreadable")
    full.idle_offset, full.standstill = 6, Standstill(5, 0.0)
    return made


def test_nothing_of_a_revoked_partition_is_left(assignment: Assignment) -> None:
    assignment._revoked(cast("Any", Consumer()), [TopicPartition("t", 0)])
    assert assignment.held == {0: "held"}, "a callback only records"
    assignment._note_events()
    assert assignment.assigned == {}
    assert (assignment.partitions, assignment.waiting, assignment.restoring, assignment.held) == ({}, {}, [], {})
    assert cast("Any", assignment._scorer).revoked == [0]


def test_a_partition_that_comes_back_starts_with_nothing(assignment: Assignment) -> None:
    consumer = cast("Any", Consumer())
    assignment._revoked(consumer, [TopicPartition("t", 0)])
    assignment._assigned(consumer, [TopicPartition("t", 0)])
    assignment._note_events()
    again = assignment.assigned[0]
    assert again == AssignedPartition(0, again.since)
    assert assignment.waiting.keys() == {0}


def test_so_does_one_that_is_reassigned(assignment: Assignment) -> None:
    assignment.reassign(0)
    again = assignment.assigned[0]
    assert again == AssignedPartition(0, again.since)
    since = again.since
    assignment.reassign(0)
    assert assignment.assigned[0].since == since, "its restore time counts from the first assignment"


def test_a_partition_waits_then_restores_then_is_live(assignment: Assignment) -> None:
    assigned = assignment.assigned[0] = AssignedPartition(0)
    assert (set(assignment.waiting), assignment.restoring, assigned.restored()) == ({0}, [], None)
    partition = assigned.partition = Partition(0, 5, live_from=REBUILT_TO)
    assert (assignment.waiting, assignment.restoring, assigned.restored()) == ({}, [0], None)
    partition.next_offset = REBUILT_TO
    assert assigned.restored() is not None
    assert (assignment.waiting, assignment.restoring, assigned.restored()) == ({}, [], None)


def test_a_partition_that_was_revoked_is_not_held(assignment: Assignment) -> None:
    assignment._drop(0)
    assignment.hold(0, "its sketch is too large", 1.0)
    assert assignment.assigned == {}


def test_a_partition_that_waits_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.consume.assigned_partition.time.monotonic", lambda: 100.0)
    assigned, pauses = AssignedPartition(0), []
    for _ in range(7):
        assigned.put_off("no broker answers")
        pauses.append(round(assigned.retry_at - 100.0, 3))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert assigned.reason == "no broker answers"


def report(partitions: list[AssignedPartition], lag: dict[int, int], failure: str = "") -> dict[int, str]:
    return stalled([(each, each.partition) for each in partitions if each.partition], lag, failure)


def test_a_partition_with_input_that_commits_nothing_for_long_is_reported_with_the_last_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("worker.consume.progress.time.monotonic", lambda: now)
    stuck = ready(0, 5)
    partitions, lag = [stuck, ready(1, 7)], {0: 3, 1: 0}
    assert report(partitions, lag) == {}
    now += STALLED_AFTER_S + 1
    reported = report(partitions, lag, "the broker said no")
    assert reported.keys() == {0}
    assert reported[0] == "3 messages wait, and nothing was committed for 31 s: the broker said no"
    assert stuck.partition is not None
    stuck.partition.next_offset = 6
    assert report(partitions, lag) == {}
    # Input that comes after a long rest has not waited.
    now += 1000
    assert report(partitions, {0: 0, 1: 0}) == {}
    assert report(partitions, lag) == {}


def test_a_held_partition_is_not_reported_until_it_has_stood_still_again_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("worker.consume.progress.time.monotonic", lambda: now)
    partitions, lag = [ready(0, 5)], {0: 3}
    assert report(partitions, lag) == {}
    now += STALLED_AFTER_S + 1
    partitions[0].hold = Hold(1e9, "its schema is not known")
    assert report(partitions, lag) == {}
    partitions[0].hold = None
    assert report(partitions, lag) == {}
    now += STALLED_AFTER_S + 1
    assert report(partitions, lag).keys() == {0}
