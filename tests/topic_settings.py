"""Change the settings of a stage's topics, and take records from them."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.harness import Stage, wait_until
from worker.kafka.client_config import admin_client, client_config


def set_topic(stage: Stage, role: str, **settings: object) -> None:
    """Set these of a topic, with underscores for dots: `max_message_bytes=20_000`; None: back to the default."""
    entries = [
        ConfigEntry(
            name.replace("_", "."),
            None if value is None else str(value),
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for name, value in settings.items()
    ]
    change = ConfigResource(ResourceType.TOPIC, stage.pipeline.topics[role], incremental_configs=entries)
    admin = admin_client(client_config(stage.bootstrap))
    admin.incremental_alter_configs([change])[change].result()


def delete_records(stage: Stage, role: str, partitions: Iterable[int]) -> None:
    """Delete all records of a compacted topic, as a careless operator does, who changes its policy for it."""
    admin, topic = admin_client(client_config(stage.bootstrap)), stage.pipeline.topics[role]
    set_topic(stage, role, cleanup_policy="compact,delete")
    places = [TopicPartition(topic, partition, -1) for partition in partitions]

    def deleted() -> bool:
        try:
            for records in admin.delete_records(places).values():
                records.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.POLICY_VIOLATION:
                raise
            return False  # the broker's log gets the new policy a moment later
        return True

    wait_until(deleted, "records deleted")
    set_topic(stage, role, cleanup_policy="compact")
