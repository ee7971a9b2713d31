"""What the settings of each topic must be: those that break a guarantee are refused, those that weaken one warned of.

docs/operations.md shows this as a table.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

MINUTE_MS, DAY_MS = 60_000, 86_400_000
# Twice the windows' longest span (15 minutes), and as much as a reading may be ahead of its Kafka timestamp.
REBUILD_MS = 35 * MINUTE_MS
_WEEK_MS = 7 * DAY_MS

Settings = Mapping[str, str]
"""A topic's settings, by name, as the broker tells them."""


class Rule(NamedTuple):
    """What one setting has to be.

    Attributes:
        fits: whether a value does.
        value: one that does, for the command that sets it.
        breaks: whether another value breaks a guarantee, and is refused.
        why: what happens otherwise.
    """

    setting: str
    fits: Callable[[str], bool]
    value: str
    breaks: bool
    why: str


def _is(value: str) -> Callable[[str], bool]:
    return lambda told: ",".join(sorted(told.replace(" ", "").split(","))) == value


def _at_least(least: int) -> Callable[[str], bool]:
    """Whether a number is as large; -1 means without limit."""
    return lambda told: int(told) < 0 or int(told) >= least


_CLEAN = Rule(
    "unclean.leader.election.enable",
    _is("false"),
    "false",
    breaks=True,
    why="a broker that is behind may lead, and records that were confirmed are lost",
)
_UNBOUNDED = Rule(
    "retention.bytes",
    _is("-1"),
    "-1",
    breaks=False,
    why="how long records are kept then depends on how many there are",
)


_STAMPED = Rule(
    "message.timestamp.type",
    _is("LogAppendTime"),
    "LogAppendTime",
    breaks=False,
    why="the broker may refuse all that a worker writes whose clock is more than an hour ahead",
)


def _deleted(why: str, *, breaks: bool = True) -> Rule:
    return Rule("cleanup.policy", _is("delete"), "delete", breaks, why)


def _kept(least_ms: int, why: str, *, breaks: bool = False) -> Rule:
    return Rule("retention.ms", _at_least(least_ms), str(least_ms), breaks, why)


_COMPACTED_OUTPUT = "compaction removes all but the newest record of a key, and refuses records without a key"

RULES: Mapping[str, tuple[Rule, ...]] = {
    "input": (
        _deleted("compaction removes readings, which windows are rebuilt from"),
        _kept(REBUILD_MS, "windows cannot be rebuilt after a restart", breaks=True),
        _kept(DAY_MS, "readings are deleted unread while workers are away for longer"),
        _UNBOUNDED,
        Rule(
            "message.timestamp.type",
            _is("LogAppendTime"),
            "LogAppendTime",
            breaks=False,
            why="it keeps the producers' timestamps, so a device whose clock is ahead is not found out",
        ),
        _CLEAN,
    ),
    "predictions": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "they tell where to go on once the group's offsets have expired (after 7 days by default)"),
        _UNBOUNDED,
        _STAMPED,
        _CLEAN,
    ),
    "alarms": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "alarms are gone before anybody has explained or labelled them"),
        _UNBOUNDED,
        _STAMPED,
        _CLEAN,
    ),
    "alarm_state": (
        Rule(
            "cleanup.policy",
            _is("compact"),
            "compact",
            breaks=True,
            why="a standing alarm must stay as long as it stands: once deleted, it is raised a second time",
        ),
        Rule(
            "delete.retention.ms",
            _at_least(10 * MINUTE_MS),
            str(DAY_MS),
            breaks=False,
            why="a worker that reads alarm states for longer may miss that an alarm has returned to normal",
        ),
        _STAMPED,
        _CLEAN,
    ),
    "dead_letters": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(REBUILD_MS, "a rebuild asks them which readings were refused", breaks=True),
        _kept(_WEEK_MS, "letters are gone before anybody has redriven them"),
        _UNBOUNDED,
        _STAMPED,
        _CLEAN,
    ),
    "sketches": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(30 * DAY_MS, "a site's baseline is read from its first sketches"),
        _CLEAN,
    ),
    "events": (
        _deleted("compaction removes the history of drift", breaks=False),
        _kept(30 * DAY_MS, "what stands is read from its history"),
    ),
    "labels": (
        _deleted("compaction removes labels", breaks=False),
        _kept(30 * DAY_MS, "labels are counted back over 30 days"),
    ),
    "shadow": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "a challenger takes weeks to prove itself"),
        _CLEAN,
    ),
}


def violations(role: str, topic: str, told: Settings, replicas: int) -> Iterator[tuple[bool, str]]:
    """What a topic's settings do not fit, in words, and whether that breaks a guarantee.

    Args:
        role: of the topic.
        topic: its name.
        told: its settings; what is not among them is passed over.
        replicas: number of copies of its partitions.
    """
    broken = set()
    for rule in RULES[role]:
        value = told.get(rule.setting)
        if value is None or rule.fits(value) or rule.setting in broken:
            continue
        broken.add(rule.setting)
        yield (
            rule.breaks,
            f"{topic} has {rule.setting}={value}: {rule.why}; {_command(topic, rule.setting, rule.value)}",
        )
    in_sync = int(told.get("min.insync.replicas", "1"))
    if in_sync > replicas:
        yield (
            True,
            f"{topic} has min.insync.replicas={in_sync} and {replicas} replicas: nothing can be written; "
            + _command(topic, "min.insync.replicas", str(replicas)),
        )
    elif in_sync < 2 <= replicas:
        yield (
            False,
            f"{topic} has min.insync.replicas={in_sync}: what only one broker has is lost with that broker; "
            + _command(topic, "min.insync.replicas", "2"),
        )


def _command(topic: str, setting: str, value: str) -> str:
    return (
        f"`kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}={value}`"
    )
