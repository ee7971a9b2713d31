"""The topic of alarm states is lost while alarms stand: none is raised a second time."""

from collections.abc import Callable

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic

from common.errors import DependencyDownError
from schemas.errors import MalformedError, UnknownSchemaError
from tests.harness import START_MS, Stage, reading, wait_until
from tests.topic_settings import delete_records
from worker.kafka.client_config import admin_client, client_config
from worker.recover.active_alarms import raise_if_ours
from worker.windows.partition import Checkpoint

pytestmark = [pytest.mark.timeout(180)]
HOT = {"max_surface_temp_c": 95.0, "avg_surface_temp_c": 80.0}
HOT |= {"offgas_co_ppm": 900.0, "offgas_h2_ppm": 900.0, "offgas_voc_ppm": 900.0}


def publish(stage: Stage, steps: range, **sensors: float) -> None:
    stage.publish_readings(reading("m", START_MS + n * 10_000, **sensors) for n in steps)


def create_again(stage: Stage) -> None:
    admin, topic = admin_client(client_config(stage.bootstrap)), stage.pipeline.topics["alarm_state"]
    admin.delete_topics([topic])[topic].result()

    def created() -> bool:
        try:
            admin.create_topics([NewTopic(topic, 2, 1, config={"cleanup.policy": "compact"})])[topic].result()
        except KafkaException:
            return False
        return True

    wait_until(created, "the topic of alarm states")


def delete_all(stage: Stage) -> None:
    delete_records(stage, "alarm_state", range(2))


def run(stage: Stage, readings: int, during: Callable[[Stage], None] | None = None) -> None:
    with stage.worker() as worker:
        worker.await_scored(readings)
        if during is not None:
            during(stage)
            publish(stage, range(40, 45), **HOT)
            worker.await_scored(readings + 5)
        assert worker.stop() == 0


def transitions(stage: Stage) -> list[tuple[str, str]]:
    return [(r["state"], r["alarm_id"]) for r in stage.records("alarms")]


@pytest.mark.kafka
@pytest.mark.parametrize("lose", [create_again, delete_all])
@pytest.mark.parametrize("running", [False, True])
def test_a_standing_alarm_stands_on_and_ends_once(stage: Stage, lose: Callable[[Stage], None], running: bool) -> None:
    publish(stage, range(40), **HOT)
    if running:
        run(stage, 40, lose)
    else:
        run(stage, 40)
        lose(stage)
        publish(stage, range(40, 45), **HOT)
    # Twice: the new topic never has the state of an alarm that does not change.
    for steps in (range(45, 50), range(50, 55)):
        publish(stage, steps, **HOT)
        run(stage, 5 if running or steps.start > 45 else 10)
    publish(stage, range(55, 130))
    run(stage, 75)
    (raised, alarm), *ended = transitions(stage)
    assert raised == "ACTIVE"
    assert ended == [("RTN", alarm)]
    assert stage.alarm_states() == {}


def test_a_state_whose_schema_the_registry_has_lost_is_not_taken_for_a_stranger_s() -> None:
    lost = UnknownSchemaError("the registry says: Schema not found")
    with pytest.raises(DependencyDownError, match="restore the schemas"):
        raise_if_ours(b"\0\0\0\0\x02abc", lost, "the alarm state of m in states/0")
    raise_if_ours(b"\xc3\x01abc", lost, "")
    raise_if_ours(b"\0\0\0\0\x02abc", MalformedError("too short"), "")


@pytest.mark.parametrize(
    ("metadata", "ids"),
    [
        ("hazardstream/2 5 7 9", ("", "", "")),
        ("hazardstream/3 5 7 9 input", ("input", "", "")),
        ("hazardstream/3 5 7 9", ("", "", "")),
        ("hazardstream/4 5 7 9 input states", ("input", "states", "")),
        ("hazardstream/4 5 7 9 - -", ("", "", "")),
        ("hazardstream/5 5 7 9 input states buckets", ("input", "states", "buckets")),
        ("hazardstream/5 5 7 9 input - buckets", ("input", "", "buckets")),
    ],
)
def test_checkpoints_of_every_version_are_read(metadata: str, ids: tuple[str, str, str]) -> None:
    assert Checkpoint.load(metadata) == Checkpoint(5, 7, 9, *ids)
    assert Checkpoint.load(Checkpoint(5, 7, 9).dump(*ids)) == Checkpoint(5, 7, 9, *ids)


@pytest.mark.parametrize(
    "metadata", [None, "", "kafka-ui", "hazardstream/4 5 7", "hazardstream/4 5 x 9 a b", "hazardstream/9 5 7 9"]
)
def test_what_others_committed_is_no_checkpoint(metadata: str | None) -> None:
    assert Checkpoint.load(metadata) is None
