"""Headers of a trace go from a reading to its prediction and its alarm, and change nothing else."""

import pytest

from tests.harness import START_MS, Stage, avro, reading, wait_until
from tests.uninterrupted import assert_equals_uninterrupted_run

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
HOT = {"avg_surface_temp_c": 95.0, "max_surface_temp_c": 110.0, "voltage_v": 30.0, "offgas_co_ppm": 900.0}


def trace(number: int) -> list[tuple[str, bytes]]:
    parent = f"00-{number:032x}-{number:016x}-01".encode()
    return [("other", b"stays"), ("traceparent", parent), ("tracestate", b"a=1"), ("tracestate", b"b=2")]


def test_a_trace_goes_on_with_the_prediction_and_the_alarm_of_its_reading(stage: Stage) -> None:
    """Records with and without headers come mixed, and those of a key stay in order."""
    traced = {}
    for number in range(60):
        value = avro(reading("m", START_MS + number * 10_000, **HOT))
        headers = {} if number % 3 == 0 else {"headers": trace(number)}
        traced[START_MS + number * 10_000] = headers.get("headers", [])[1:]
        stage.publish([("m", value)], **headers)
    too_long = [("traceparent", b"x" * 100_000)]
    stage.publish([("n", avro(reading("n", START_MS)))], headers=too_long)
    stage.publish([("m", b"noise")], headers=trace(99))
    with stage.worker() as worker:
        wait_until(lambda: stage.outcomes() == 62, "all outcomes")
        assert worker.stop() == 0
    assert_equals_uninterrupted_run(stage)  # their order, too
    predictions = stage.messages("predictions")
    found = {record["ts"]: message.headers() or [] for message, record in predictions if record["module_id"] == "m"}
    assert found == traced
    alone = [m for m in stage.committed("predictions") if m.key() == b"n"]
    assert [m.headers() for m in alone] == [None]
    alarms = list(stage.messages("alarms"))
    assert alarms
    for message, record in alarms:
        assert (message.headers() or []) == traced[record["ts"]]
    (letter,) = stage.dead_letters()
    assert letter.headers()[:4] == trace(99)


def test_which_headers_go_on_is_said_in_the_pipeline_file(stage: Stage) -> None:
    text = stage.pipeline_file.read_text()
    stage.pipeline_file.write_text(text.replace("outputs:\n", "outputs:\n  headers: [other]\n", 1))
    assert stage.pipeline.outputs.headers == ("other",)
    with stage.worker() as worker:
        stage.publish([("m", avro(reading("m", START_MS)))], headers=trace(1))
        worker.await_scored(1)
        assert worker.stop() == 0
    (message,) = stage.committed("predictions")
    assert message.headers() == [("other", b"stays")]
