"""What the group's coordinator refuses, and in which state the group is, stands in /ready: on a real broker."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from confluent_kafka import Consumer

from tests.fleet_content import expected_outcomes, fleet_content
from tests.harness import Stage, Worker, make_stage, wait_until
from tests.secured_broker import Secured
from tests.uninterrupted import assert_equals_uninterrupted_run
from worker.kafka.client_config import client_config

UNHURRIED = {"model_max_ms": "10000"}  # other tests share the cores

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def own(secured: Secured, topic_prefix: str, tmp_path: Path, model_package: Path) -> Stage:
    """On the broker whose groups take two members, and sessions of a minute."""
    stage = make_stage(secured.plaintext, topic_prefix, tmp_path, model_package)
    stage.settings = UNHURRIED
    return stage


@contextmanager
def member(stage: Stage, **properties: str) -> Iterator[Consumer]:
    """Another member of the worker's group, that has joined it and goes on."""
    group = f"hazardstream-{stage.pipeline.name}"
    other = Consumer(client_config(stage.bootstrap) | {"group.id": group} | properties)
    other.subscribe([stage.pipeline.input.topic])
    stop = Event()

    def poll() -> None:
        while not stop.is_set():
            other.poll(0.1)

    wait_until(lambda: other.poll(0.1) or other.assignment(), "the other member has joined")
    thread = Thread(target=poll)
    thread.start()
    try:
        yield other
    finally:
        stop.set()
        thread.join()
        other.close()


def await_reported(worker: Worker, *words: str) -> None:
    worker.await_reason(*words, timeout_s=120)
    assert words[0] in worker.answer("/health").text


def test_another_assignor(own: Stage) -> None:
    with ExitStack() as others:
        others.enter_context(member(own, **{"partition.assignment.strategy": "range"}))
        with own.worker() as worker:
            await_reported(worker, "JoinGroup failed: Broker: Inconsistent group protocol", "another assignor")
            others.close()
            worker.await_ready()


@pytest.mark.parametrize("session_ms", ["100000", "500"])
def test_a_session_timeout_that_the_broker_refuses(own: Stage, session_ms: str) -> None:
    with own.worker(session_timeout_ms=session_ms) as worker:
        await_reported(worker, "Invalid session timeout", "set HAZARDSTREAM_SESSION_TIMEOUT_MS")


def test_a_full_group(own: Stage) -> None:
    cooperative = {"partition.assignment.strategy": "cooperative-sticky"}
    with member(own, **cooperative), member(own, **cooperative), own.worker() as worker:
        await_reported(worker, "maximum size", "group.max.size")


def test_a_member_that_hangs_is_named(own: Stage) -> None:
    group = f"hazardstream-{own.pipeline.name}"
    hung = {
        "partition.assignment.strategy": "cooperative-sticky",
        "client.id": "hung",
        "max.poll.interval.ms": "600000",
    }
    other = Consumer(client_config(own.bootstrap) | {"group.id": group, "session.timeout.ms": "45000"} | hung)
    other.subscribe([own.pipeline.input.topic])
    wait_until(lambda: other.poll(0.1) or other.assignment(), "the other member has joined")
    with own.worker() as worker:
        await_reported(worker, f"group {group} has", "hung at", "stop members that hang")
    other.close()


def test_an_advertised_listener_out_of_reach(secured: Secured, own: Stage) -> None:
    told = {"ELSEWHERE": "Connection refused", "NOWHERE": "broker-7.internal.invalid:9092"}
    with ExitStack() as running:
        workers = []
        for listener in told:
            own.environment = {"KAFKA_BOOTSTRAP_SERVERS": secured.at(listener)}
            workers.append(running.enter_context(own.worker()))
        for worker, words in zip(workers, told.values(), strict=True):
            await_reported(worker, words, "which the cluster advertises as broker 1", "advertised.listeners")


def await_scored(worker: Worker, count: int) -> None:
    wait_until(lambda: worker.metric("hazardstream_scored_total") >= count, f"{count} readings scored", 120)


@pytest.mark.kafka
def test_exactly_once_by_the_protocol_of_kip_848(stage: Stage) -> None:
    stage.settings = UNHURRIED | {"group_protocol": "consumer", "batch_max_messages": "50"}
    content = fleet_content(stage)
    stage.publish(content)
    with stage.worker() as worker:
        await_scored(worker, 300)
        with stage.worker() as second:  # of the same name: it waits, and leaves the first alone
            await_reported(second, "instance ID is still used", "group.consumer.session.timeout.ms")
            before = worker.metric("hazardstream_scored_total")
            stage.publish(fleet_content(stage, steps=450)[-300:])
            await_scored(worker, int(before) + 50)
            worker.kill()
            stage.publish(fleet_content(stage, steps=500)[-300:])
            await_scored(second, 50)  # once the dead one's session is over
            second.kill()
    with stage.worker(instance_id="") as third:
        expected = expected_outcomes(stage)
        wait_until(lambda: stage.outcomes() == expected, "all is scored", 90)
        assert third.stop() == 0
    assert_equals_uninterrupted_run(stage)


def test_a_worker_that_is_spare(own: Stage) -> None:
    cooperative = {"partition.assignment.strategy": "cooperative-sticky"}
    alone = make_stage(own.bootstrap, f"{own.pipeline.name}-one.", own.directory, own.model, partitions=1)
    alone.settings = UNHURRIED
    with member(alone, **cooperative), alone.worker() as worker:
        await_reported(worker, "has fewer partitions than members", "w1 at", "this worker is spare")
