"""The sink stores what the topics hold, once, whatever happens to topics, sinks and databases."""

from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from common.errors import UserError
from sink.engine import database_url, reading_engine
from sink.queries import database_stats
from tests.harness import wait_until
from tests.postgresql import new_database, postgresql_server
from tests.sink_kills import flow
from tests.sink_scene import Scene, rows_of, stored
from worker.kafka.client_config import admin_client, client_config

pytestmark = pytest.mark.kafka


def assert_equal_to_topics(scene: Scene, destination: str, records: int) -> None:
    found = scene.compare(destination)
    assert found.pop("records") >= records
    assert not any(found.values()), found


def losses(database: str) -> list[tuple[str, int, int | None]]:
    engine = reading_engine(database_url(database))
    found = database_stats(engine)["losses"]
    engine.dispose()
    return [(row["reason"], row["first_offset"], row["last_offset"]) for row in found]


def test_rows_equal_the_topics_and_a_second_run_adds_only_what_is_new(scene: Scene, destination: str) -> None:
    scene.publish(300)
    scene.store_all(destination)
    assert_equal_to_topics(scene, destination, 300)

    scene.publish(50)
    scene.store_all(destination)
    scene.store_all(destination)

    assert_equal_to_topics(scene, destination, 350)


def test_two_sinks_at_once_store_each_record_once(scene: Scene, destination: str) -> None:
    """Of one group they share the partitions; of two, each refuses what the other has stored."""
    with (
        flow(scene),
        scene.sink(destination, "--every-s", "0.05", log="a.log"),
        scene.sink(destination, "--every-s", "0.05", log="b.log"),
        scene.sink(destination, "--every-s", "0.05", "--group", f"{scene.topics['alarms']}-2", log="c.log"),
    ):
        wait_until(lambda: len(stored(destination)) > 500, "records are stored", 90)
    scene.store_all(destination)

    assert_equal_to_topics(scene, destination, 500)


def test_a_topic_that_was_created_again_is_stored_beside_the_former_one_and_reported(
    scene: Scene, database: str
) -> None:
    scene.publish(60)
    scene.store_all(database)
    before = len(rows_of(database, "alarms"))
    admin, topic = admin_client(client_config(scene.stage.bootstrap)), scene.topics["alarms"]
    with scene.sink(database, "--every-s", "0.05"):
        admin.delete_topics([topic])[topic].result()
        wait_until(lambda: topic not in admin.list_topics(timeout=10).topics, "the topic is gone")
        admin.create_topics([NewTopic(topic, scene.stage.partitions, 1)])[topic].result()
        wait_until(lambda: topic in admin.list_topics(timeout=10).topics, "the topic is back")
        scene.renew_producer()
        scene.publish(100)
        wait_until(lambda: len(rows_of(database, "alarms")) >= before + 20, "both are stored", 90)

    rows = rows_of(database, "alarms")
    assert len(rows) == before + 20
    assert len({row["kafka_topic_id"] for row in rows}) == 2
    assert losses(database) == [("created_again", 0, None)] * scene.stage.partitions


def test_records_that_retention_deleted_before_they_were_stored_are_reported(scene: Scene, database: str) -> None:
    scene.publish(100)
    scene.store_all(database)
    at = 1 + max(row["kafka_offset"] for row in rows_of(database, "predictions") if row["kafka_partition"] == 0)
    scene.publish(100)
    admin = admin_client(client_config(scene.stage.bootstrap))
    place = TopicPartition(scene.topics["predictions"], 0, at + 20)
    admin.delete_records([place])[place].result()
    scene.store_all(database)

    ((reason, first, last),) = losses(database)
    assert (reason, last) == ("retention", at + 19)
    assert at <= first < at + 5  # markers of transactions may follow the last record


def test_the_sink_waits_for_a_database_that_is_down(scene: Scene, tmp_path: Path) -> None:
    with postgresql_server(tmp_path) as (server, address):
        database = new_database(address)
        with scene.sink(database, "--every-s", "0.05") as process:
            scene.publish(100)
            scene.await_stored(database)
            server.kill()
            scene.publish(100)
            log = scene.stage.directory / "sink.log"
            wait_until(lambda: '"dependency": "database"' in log.read_text(), "the sink says that it waits")
            assert process.poll() is None
            server.launch()
            wait_until(lambda: _answers(database), "the database is back")
            scene.await_stored(database)

        assert_equal_to_topics(scene, database, 200)


def _answers(database: str) -> bool:
    try:
        psycopg.connect(database, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_database_of_another_pipeline_is_refused(scene: Scene, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sink.sqlite"
    scene.publish(10)
    scene.store_all(database)
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE sink_offsets SET topic = 'other' WHERE table_name = 'alarms'"))

    with pytest.raises(UserError, match=r"table alarms of .* holds records of topic other, not of"):
        scene.store_all(database)
