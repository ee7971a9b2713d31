"""Change the settings of a stage's topics."""

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.harness import Stage
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
