"""A loop that completes no iteration is noticed, and the log says where it is stuck."""

import threading

from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from tests.harness import wait_until
from worker.http.sidecar import build_app
from worker.observe.loop_questions import LoopQuestions
from worker.observe.metrics import Metrics
from worker.observe.watchdog import start_watchdog
from worker.observe.worker_status import START_S, Status


def a_call_that_does_not_return(until: threading.Event) -> None:
    until.wait(30)


def test_a_stuck_loop_turns_live_red_and_its_stack_is_in_the_log() -> None:
    status = Status(Metrics(), "pipeline", "w1", "exactly_once", phase="running", stuck_after_s=0.2)
    client, go_on = TestClient(build_app(status, LoopQuestions())), threading.Event()
    loop = threading.Thread(target=a_call_that_does_not_return, args=(go_on,), name="loop")
    with capture_logs() as logs:
        loop.start()
        start_watchdog(status)
        wait_until(lambda: logs, "the watchdog barks")
        assert client.get("/live").status_code == 503
        status.turn()
        assert client.get("/live").status_code == 200
        wait_until(lambda: len(logs) > 1, "the watchdog is quiet again")
        go_on.set()
        loop.join()
    assert [log["event"] for log in logs[:2]] == ["the loop is stuck", "the loop continues"]
    assert any("a_call_that_does_not_return" in line for line in logs[0]["stacks"]["loop"])
    assert status.metrics.registry.get_sample_value("hazardstream_loop_stuck_total") == 1


def test_a_start_that_loads_a_large_model_is_not_stuck() -> None:
    status = Status(Metrics(), "pipeline", "w1", "exactly_once")  # a minute, while it runs
    status.last_turn -= 660
    assert not status.stuck()
    status.phase = "running"
    assert status.stuck()
    status.phase = "starting"
    status.last_turn -= START_S
    assert status.stuck()
