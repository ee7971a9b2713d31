"""One table of topics by role: settings at creation, ACLs that a worker needs, and required settings.

docs/operations.md shows the required settings and the ACLs.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from common.times import DAY_MS, MINUTE_MS

# Twice the longest window (15 minutes), plus the time that a reading may be ahead of its Kafka timestamp.
REBUILD_MS = 35 * MINUTE_MS
BROKER_DEFAULT_MAX_BYTES = 1_048_588
_WEEK_MS = 7 * DAY_MS


class Rule(NamedTuple):
    """What one topic setting must be.

    Attributes:
        fits: whether a value is allowed.
        value: an allowed value, for the command that sets it.
        breaks: whether any other value breaks a guarantee (an error) or only weakens one (a warning).
        why: what happens with another value.
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
    why="a replica that is behind may become leader, and acknowledged records are lost",
)
_UNBOUNDED = Rule(
    "retention.bytes", _is("-1"), "-1", breaks=False, why="a size limit may delete records before retention.ms"
)
_STAMPED = _stamped("the broker may reject all records of a worker whose clock is more than an hour ahead")
_COMPACTED_OUTPUT = "compaction keeps only the newest record of each key, and rejects records without a key"

SETTINGS_OF_ALL = {"message.timestamp.type": "LogAppendTime"}
"""Settings at creation of every topic: docs/decisions/log-append-time.md."""

ROLES: Mapping[str, Role] = {
    "input": Role(
        ("Read",),
        (
            _deleted("compaction removes readings that are needed to rebuild windows"),
            _kept(REBUILD_MS, "windows cannot be rebuilt after a restart", breaks=True),
            _kept(DAY_MS, "readings are lost if the workers are down for longer"),
            _UNBOUNDED,
            _stamped("with the producers' timestamps, a device whose clock is ahead is not detected"),
            _CLEAN,
        ),
    ),
    "predictions": Role(
        ("Read", "Write"),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "a worker cannot find its position after the group's offsets expire (7 days by default)"),
            _UNBOUNDED,
            _STAMPED,
            _CLEAN,
        ),
    ),
    "alarms": Role(
        ("Read", "Write"),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "alarms are deleted before anybody explains or labels them"),
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
                why="if the state of an active alarm is deleted, the alarm is raised again",
            ),
            Rule(
                "delete.retention.ms",
                _at_least(10 * MINUTE_MS),
                str(DAY_MS),
                breaks=False,
                why="a worker that takes longer to read the alarm states may miss that an alarm returned to normal",
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
            _kept(REBUILD_MS, "window rebuilds no longer know which records to exclude", breaks=True),
            _kept(_WEEK_MS, "letters are deleted before anybody redrives them"),
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
            _kept(30 * DAY_MS, "the first sketches of a site, its baseline, are deleted"),
            _CLEAN,
        ),
        _days(400),
    ),
    "events": Role(
        ("Describe",),
        (
            _deleted("compaction removes the history of drift", breaks=False),
            _kept(30 * DAY_MS, "drift that is still active may be forgotten"),
        ),
        _days(400),
    ),
    "labels": Role(
        ("Describe",),
        (
            _deleted("compaction removes labels", breaks=False),
            _kept(30 * DAY_MS, "model performance counts the labels of 30 days, and some are deleted"),
        ),
        _days(400),
    ),
    "shadow": Role(
        ("Write",),
        (
            _deleted(_COMPACTED_OUTPUT),
            _kept(_WEEK_MS, "shadow scores are deleted before the evaluation of a challenger ends"),
            _CLEAN,
        ),
        _days(30),
    ),
}
