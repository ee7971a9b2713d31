"""The topics of a pipeline by role, in one table: settings when they are created, ACLs, and required settings.

docs/operations.md shows the required settings and the ACLs.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from common.times import DAY_MS, MINUTE_MS

# Twice the windows' longest span (15 minutes), plus how far a reading may be ahead of its Kafka timestamp.
REBUILD_MS = 35 * MINUTE_MS
BROKER_DEFAULT_MAX_BYTES = 1_048_588
_WEEK_MS = 7 * DAY_MS


class Rule(NamedTuple):
    """What one topic setting must be.

    Attributes:
        fits: whether a value is allowed.
        value: an allowed value, for the command that sets it.
        breaks: whether any other value breaks a guarantee (an error) or only weakens one (a warning).
        why: what happens otherwise.
    """

    setting: str
    fits: Callable[[str], bool]
    value: str
    breaks: bool
    why: str


class Role(NamedTuple):
    """What the topic of a role needs.

    Attributes:
        operations: ACLs that a worker needs on it. `Describe` is implied by `Read` and `Write`.
        rules: required settings.
        settings: settings at creation that differ from the broker's defaults.
    """

    operations: tuple[str, ...]
    rules: tuple[Rule, ...]
    settings: Mapping[str, str] = {}


def _is(value: str) -> Callable[[str], bool]:
    return lambda given: ",".join(sorted(given.replace(" ", "").split(","))) == value


def _at_least(least: int) -> Callable[[str], bool]:
    """Whether a number is at least this; -1 means unlimited."""
    return lambda given: int(given) < 0 or int(given) >= least


def _deleted(why: str, *, breaks: bool = True) -> Rule:
    return Rule("cleanup.policy", _is("delete"), "delete", breaks, why)


def _kept(least_ms: int, why: str, *, breaks: bool = False) -> Rule:
    return Rule("retention.ms", _at_least(least_ms), str(least_ms), breaks, why)


def _stamped(why: str) -> Rule:
    return Rule("message.timestamp.type", _is("LogAppendTime"), "LogAppendTime", breaks=False, why=why)


def _days(days: int) -> Mapping[str, str]:
    return {"retention.ms": str(days * DAY_MS)}


_CLEAN = Rule(
    "unclean.leader.election.enable",
    _is("false"),
    "false",
    breaks=True,
    why="a broker that is behind may become leader, and confirmed records are lost",
)
_UNBOUNDED = Rule("retention.bytes", _is("-1"), "-1", breaks=False, why="retention then depends on the amount of data")
_STAMPED = _stamped("the broker may reject everything from a worker whose clock is more than an hour ahead")
_COMPACTED_OUTPUT = "compaction keeps only the newest record of a key, and rejects records without a key"

SETTINGS_OF_ALL = {"message.timestamp.type": "LogAppendTime"}
"""Settings at creation of every topic: docs/decisions/log-append-time.md."""

ROLES: Mapping[str, Role] = {
    "input": Role(
        ("Read",),
        (
            _deleted("compaction removes readings that windows are rebuilt from"),
            _kept(REBUILD_MS, "windows cannot be rebuilt after a restart", breaks=True),
            _kept(DAY_MS, "if workers are down for longer, readings are deleted unread"),
            _UNBOUNDED,
            _stamped("it keeps the producers' timestamps, so a device whose clock is ahead is not detected"),
            _CLEAN,
        ),
    ),
    "predictions": Role(
        ("Read", "Write"),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "they say where to continue after the group's offsets expired (7 days by default)"),
            _UNBOUNDED,
            _STAMPED,
            _CLEAN,
        ),
    ),
    "alarms": Role(
        ("Read", "Write"),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "alarms are deleted before anybody has explained or labelled them"),
            _UNBOUNDED,
            _STAMPED,
            _CLEAN,
        ),
        _days(90),
    ),
    "alarm_state": Role(
        ("Read", "Write"),
        (
            Rule(
                "cleanup.policy",
                _is("compact"),
                "compact",
                breaks=True,
                why="if the state of an active alarm is deleted, the alarm is raised a second time",
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
        {"cleanup.policy": "compact"},
    ),
    "dead_letters": Role(
        ("Read", "Write"),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(REBUILD_MS, "a rebuild reads from them which records to exclude", breaks=True),
            _kept(_WEEK_MS, "letters are deleted before anybody has redriven them"),
            _UNBOUNDED,
            _STAMPED,
            _CLEAN,
        ),
        # A letter has headers in addition to the largest record.
        {"max.message.bytes": str(2 * BROKER_DEFAULT_MAX_BYTES), **_days(30)},
    ),
    "sketches": Role(
        ("Write",),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(30 * DAY_MS, "the baseline of a site is read from its first sketches"),
            _CLEAN,
        ),
        _days(400),
    ),
    "events": Role(
        ("Describe",),
        (
            _deleted("compaction removes the history of drift", breaks=False),
            _kept(30 * DAY_MS, "active drift is read from the history"),
        ),
        _days(400),
    ),
    "labels": Role(
        ("Describe",),
        (
            _deleted("compaction removes labels", breaks=False),
            _kept(30 * DAY_MS, "performance counts the labels of 30 days"),
        ),
        _days(400),
    ),
    "shadow": Role(
        ("Write",),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "the evaluation of a challenger takes weeks"),
            _CLEAN,
        ),
        _days(30),
    ),
}
