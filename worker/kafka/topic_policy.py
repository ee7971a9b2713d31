"""The required settings of each topic. A setting that breaks a guarantee is refused; one that weakens it is warned of.

docs/operations.md shows this as a table.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

MINUTE_MS, DAY_MS = 60_000, 86_400_000
# Twice the longest window span (15 minutes), plus how far a reading may be ahead of its Kafka timestamp.
REBUILD_MS = 35 * MINUTE_MS
_WEEK_MS = 7 * DAY_MS

Settings = Mapping[str, str]
"""A topic's settings, by name, as the broker reports them."""


class Rule(NamedTuple):
    """The requirement on one setting.

    Attributes:
        fits: whether a value is suitable.
        value: a suitable value, for the command that sets it.
        breaks: whether any other value breaks a guarantee, and is refused.
        why: what happens with other values.
    """

    setting: str
    fits: Callable[[str], bool]
    value: str
    breaks: bool
    why: str


def _is(value: str) -> Callable[[str], bool]:
    return lambda told: ",".join(sorted(told.replace(" ", "").split(","))) == value


def _at_least(least: int) -> Callable[[str], bool]:
    """Whether a number is at least this large; -1 means unlimited."""
    return lambda told: int(told) < 0 or int(told) >= least


_CLEAN = Rule(
    "unclean.leader.election.enable",
    _is("false"),
    "false",
    breaks=True,
    why="a broker that lacks records may become leader, and confirmed records are lost",
)
_UNBOUNDED = Rule(
    "retention.bytes",
    _is("-1"),
    "-1",
    breaks=False,
    why="how long records are kept depends on their number",
)


_STAMPED = Rule(
    "message.timestamp.type",
    _is("LogAppendTime"),
    "LogAppendTime",
    breaks=False,
    why="the broker may refuse all records of a worker whose clock is more than an hour ahead",
)


def _deleted(why: str, *, breaks: bool = True) -> Rule:
    return Rule("cleanup.policy", _is("delete"), "delete", breaks, why)


def _kept(least_ms: int, why: str, *, breaks: bool = False) -> Rule:
    return Rule("retention.ms", _at_least(least_ms), str(least_ms), breaks, why)


_COMPACTED_OUTPUT = "compaction removes all but the newest record of a key, and refuses records without a key"

RULES: Mapping[str, tuple[Rule, ...]] = {
    "input": (
        _deleted("compaction removes readings, from which windows are rebuilt"),
        _kept(REBUILD_MS, "windows cannot be rebuilt after a restart", breaks=True),
        _kept(DAY_MS, "readings are deleted unread if workers are down for longer"),
        _UNBOUNDED,
        Rule(
            "message.timestamp.type",
            _is("LogAppendTime"),
            "LogAppendTime",
            breaks=False,
            why="it keeps the producers' timestamps, so a device whose clock is ahead is not noticed",
        ),
        _CLEAN,
    ),
    "predictions": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "they show where to continue after the group's offsets have expired (after 7 days by default)"),
        _UNBOUNDED,
        _STAMPED,
        _CLEAN,
    ),
    "alarms": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "alarms are deleted before an operator has explained or labelled them"),
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
            why="the state of an active alarm must not be deleted: the alarm would be raised a second time",
        ),
        Rule(
            "delete.retention.ms",
            _at_least(10 * MINUTE_MS),
            str(DAY_MS),
            breaks=False,
            why="a worker that takes longer to read alarm states may miss that an alarm has returned to normal",
        ),
        _STAMPED,
        _CLEAN,
    ),
    "dead_letters": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(
            REBUILD_MS, "a rebuild of windows needs them, to leave out readings that became dead letters", breaks=True
        ),
        _kept(_WEEK_MS, "letters are deleted before an operator has redriven them"),
        _UNBOUNDED,
        _STAMPED,
        _CLEAN,
    ),
    "sketches": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(30 * DAY_MS, "the baseline for drift is read from the first sketches"),
        _CLEAN,
    ),
    "events": (
        _deleted("compaction removes the history of drift", breaks=False),
        _kept(30 * DAY_MS, "the current drift state is read from its history"),
    ),
    "labels": (
        _deleted("compaction removes labels", breaks=False),
        _kept(30 * DAY_MS, "labels are counted back over 30 days"),
    ),
    "shadow": (
        _deleted(_COMPACTED_OUTPUT),
        _kept(_WEEK_MS, "the evaluation of a challenger takes weeks"),
        _CLEAN,
    ),
}


def violations(role: str, topic: str, told: Settings, replicas: int) -> Iterator[tuple[bool, str]]:
    """The unsuitable settings of a topic: whether each breaks a guarantee, and a text with the remedy.

    Args:
        role: of the topic.
        topic: its name.
        told: its settings; missing ones are not checked.
        replicas: of each of its partitions.
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
            f"{topic} has min.insync.replicas={in_sync}: records that only one broker has are lost with that broker; "
            + _command(topic, "min.insync.replicas", "2"),
        )


def _command(topic: str, setting: str, value: str) -> str:
    return (
        f"`kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name {topic} "
        f"--add-config {setting}={value}`"
    )
