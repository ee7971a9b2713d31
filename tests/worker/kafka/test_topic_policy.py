"""Topic settings that break a guarantee are refused, those that weaken one are warned of."""

import pytest

from common.times import DAY_MS
from tests.harness import Stage
from tests.topic_settings import set_topic
from worker.kafka import topics
from worker.kafka.client_config import admin_client, client_config
from worker.kafka.topic_policy import violations
from worker.kafka.topics import check_topics, warnings


def looked_at(stage: Stage) -> tuple[list[str], list[str]]:
    admin = admin_client(client_config(stage.bootstrap))
    return check_topics(admin, stage.pipeline), warnings(admin, stage.pipeline)


def test_a_model_with_longer_windows_needs_a_longer_log() -> None:
    kept = {"retention.ms": str(DAY_MS)}
    for role in ("input", "dead_letters"):
        assert not [text for breaks, text in violations(role, "t", kept, 1, rebuild_ms=DAY_MS) if breaks]
        ((breaks, text),) = violations(role, "t", kept, 1, rebuild_ms=2 * DAY_MS)
        assert breaks
        assert f"--add-config retention.ms={2 * DAY_MS}" in text
    assert not [*violations("input", "t", kept, 1, rebuild_ms=0)]


Change = tuple[str, dict[str, object], str]
BREAKING: list[Change] = [
    ("alarm_state", {"cleanup_policy": "compact,delete"}, "raised again"),
    ("alarm_state", {"cleanup_policy": "delete"}, "raised again"),
    ("dead_letters", {"cleanup_policy": "compact"}, "rejects records without a key"),
    ("predictions", {"cleanup_policy": "compact,delete"}, "only the newest"),
    ("alarms", {"cleanup_policy": "compact"}, "only the newest"),
    ("sketches", {"cleanup_policy": "compact"}, "only the newest"),
    ("input", {"cleanup_policy": "compact"}, "removes readings"),
    ("input", {"retention_ms": 600_000}, "cannot be rebuilt"),
    ("dead_letters", {"retention_ms": 600_000}, "which records to exclude"),
    ("predictions", {"unclean_leader_election_enable": "true"}, "acknowledged records are lost"),
    ("predictions", {"min_insync_replicas": 3}, "nothing can be written"),
]
WEAKENING: list[Change] = [
    ("input", {"retention_bytes": 1_000_000}, "before retention.ms"),
    ("input", {"retention_ms": 7_200_000}, "readings are lost"),
    ("input", {"message_timestamp_type": "CreateTime"}, "whose clock is ahead"),
    ("predictions", {"retention_ms": 86_400_000}, "offsets expire"),
    ("predictions", {"message_timestamp_type": "CreateTime"}, "more than an hour ahead"),
    ("alarm_state", {"delete_retention_ms": 1000}, "returned to normal"),
    ("labels", {"cleanup_policy": "compact"}, "removes labels"),
    ("dead_letters", {"max_message_bytes": 20_000}, "only their address"),
]


@pytest.mark.kafka
def test_what_the_settings_of_topics_break_and_weaken(stage: Stage) -> None:
    assert looked_at(stage) == ([], [])
    for changes, breaks in ((BREAKING, True), (WEAKENING, False)):
        for role, settings, why in changes:
            set_topic(stage, role, **settings)
            faults, weaknesses = looked_at(stage)
            said = faults if breaks else weaknesses
            assert len(said) == 1, (role, settings, faults, weaknesses)
            assert stage.pipeline.topics[role] in said[0]
            assert why in said[0]
            assert not (weaknesses if breaks else faults)
            set_topic(stage, role, **dict.fromkeys(settings) | ORIGINAL.get(role, {}))
    assert looked_at(stage) == ([], [])


# What `topics create` sets: to take a setting back is not enough.
ORIGINAL: dict[str, dict[str, object]] = {
    "alarm_state": {"cleanup_policy": "compact"},
    "input": {"message_timestamp_type": "LogAppendTime"},
    "predictions": {"message_timestamp_type": "LogAppendTime"},
    "dead_letters": {"max_message_bytes": 2_097_176, "retention_ms": 30 * 86_400_000},
}


@pytest.mark.kafka
def test_settings_that_the_broker_does_not_tell_are_unknown(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "topic_settings", lambda _, names: {name: {} for name in names})
    faults, weaknesses = looked_at(stage)
    assert faults == []
    assert len([words for words in weaknesses if "does not report its settings" in words]) == len(stage.pipeline.topics)
