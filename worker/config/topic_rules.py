"""Rules for the settings of topics, from which worker/config/roles.py puts together those of each role."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from common.times import DAY_MS

BROKER_DEFAULT_MAX_BYTES = 1_048_588
SETTINGS_OF_ALL = {"message.timestamp.type": "LogAppendTime"}
"""Settings at creation of every topic: docs/decisions/log-append-time.md."""
COMPACTED_OUTPUT = "compaction keeps only the newest record of each key, and rejects records without a key"


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


def equal_to(value: str) -> Callable[[str], bool]:
    """Whether a setting is this value, or this list in any order."""
    return lambda given: ",".join(sorted(given.replace(" ", "").split(","))) == value


def at_least(least: int) -> Callable[[str], bool]:
    """Whether a number is at least this; -1 means unlimited."""
    return lambda given: int(given) < 0 or int(given) >= least


def deleted(why: str, *, breaks: bool = True) -> Rule:
    """The topic must not be compacted."""
    return Rule("cleanup.policy", equal_to("delete"), "delete", breaks, why)


def kept(least_ms: int, why: str, *, breaks: bool = False) -> Rule:
    """Records must be kept for so long."""
    return Rule("retention.ms", at_least(least_ms), str(least_ms), breaks, why)


def stamped(why: str) -> Rule:
    """The broker must stamp the records."""
    return Rule("message.timestamp.type", equal_to("LogAppendTime"), "LogAppendTime", breaks=False, why=why)


def days(count: int) -> Mapping[str, str]:
    """The setting that keeps records for this number of days."""
    return {"retention.ms": str(count * DAY_MS)}


CLEAN = Rule(
    "unclean.leader.election.enable",
    equal_to("false"),
    "false",
    breaks=True,
    why="a replica that is behind may become leader, and acknowledged records are lost",
)
UNBOUNDED = Rule(
    "retention.bytes", equal_to("-1"), "-1", breaks=False, why="a size limit may delete records before retention.ms"
)
STAMPED = stamped("the broker may reject all records of a worker whose clock is more than an hour ahead")
