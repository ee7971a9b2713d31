"""Compares the settings of a topic with those that its role requires."""

from collections.abc import Iterator, Mapping

from common.times import MINUTE_MS
from worker.config.roles import ROLES

USUAL_REBUILD_MS = 35 * MINUTE_MS
"""How far back a rebuild reads for windows of 15 minutes: what is checked before the model is known."""

Settings = Mapping[str, str]
"""Settings of a topic by name, as the broker reports them."""


def violations(role: str, topic: str, given: Settings, replicas: int, rebuild_ms: int) -> Iterator[tuple[bool, str]]:
    """Required settings that a topic does not have: whether that breaks a guarantee, and the text.

    Args:
        role: of the topic.
        topic: its name.
        given: its settings; missing ones are not checked.
        replicas: number of replicas of its partitions.
        rebuild_ms: how far back a rebuild of windows reads.
    """
    broken = set()
    for rule in ROLES[role].rules_for(rebuild_ms):
        value = given.get(rule.setting)
        if value is None or rule.fits(value) or rule.setting in broken:
            continue
        broken.add(rule.setting)
        yield (
            rule.breaks,
            f"{topic} has {rule.setting}={value}: {rule.why}; {_command(topic, rule.setting, rule.value)}",
        )
    in_sync = int(given.get("min.insync.replicas", "1"))
    if in_sync > replicas:
        yield (
            True,
            f"{topic} has min.insync.replicas={in_sync} and {replicas} replicas: nothing can be written; "
            + _command(topic, "min.insync.replicas", str(replicas)),
        )
    elif in_sync < 2 <= replicas:
        yield (
            False,
            f"{topic} has min.insync.replicas={in_sync}: records that only one broker has are lost with that broker; "
            + _command(topic, "min.insync.replicas", "2"),
        )


def _command(topic: str, setting: str, value: str) -> str:
    return (
        f"`kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}={value}`"
    )
