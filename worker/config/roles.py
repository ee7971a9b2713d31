"""The one table of topics by role: where each stands in the pipeline file, what is on it, and what it needs.

Everything else derives from it: the pipeline's topics and schemas, checks of schemas, creation and checks of topics,
ACLs. docs/operations.md shows the required settings and the ACLs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import BaseModel

from common.times import DAY_MS, MINUTE_MS
from worker.config.inputs_outputs import DeadLetters, Output, Strict
from worker.config.output_fields import ALARM, ALARM_STATE, EVENT, LABEL, SHADOW, SKETCH, Fields
from worker.config.prediction_fields import PREDICTION
from worker.config.topic_rules import (
    BROKER_DEFAULT_MAX_BYTES,
    CLEAN,
    COMPACTED_OUTPUT,
    STAMPED,
    UNBOUNDED,
    Rule,
    at_least,
    days,
    deleted,
    equal_to,
    kept,
    stamped,
)

_WEEK_MS = 7 * DAY_MS


def _kept_a_week(why: str) -> tuple[Rule, ...]:
    """Rules of an output that is a log, with what happens if its records are deleted earlier."""
    return (deleted(COMPACTED_OUTPUT), kept(_WEEK_MS, why), UNBOUNDED, STAMPED, CLEAN)


@dataclass(frozen=True, eq=False)
class Role:
    """What the engine knows of a role.

    Attributes:
        place: of its topic and schema in the pipeline file.
        fields: of its records, under the engine's names; none where the engine does not write them.
        columnar: whether its records are encoded in columns: every field of the schema must be one that is written.
        mapped: whether `outputs.fields` renames its fields.
        written: whether workers write to the topic.
        read: whether workers read it.
        echoes: whether fields of the input are copied to it.
        shows_progress: whether each record names the reading that it is about, so that the newest shows how far its
            partition was processed.
        rebuilds: what happens if its records are deleted before the windows they rebuild end; empty if none are needed.
        rules: required settings of the topic.
        settings: settings at creation that differ from the broker's defaults.
    """

    place: tuple[str, ...] = ()
    fields: Fields = field(default_factory=dict)
    columnar: bool = False
    mapped: bool = False
    written: bool = False
    read: bool = False
    echoes: bool = False
    shows_progress: bool = False
    rebuilds: str = ""
    rules: tuple[Rule, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def operations(self) -> tuple[str, ...]:
        """ACLs that a worker needs on the topic. `Describe` is implied by `Read` and `Write`."""
        return (("Read",) if self.read else ()) + (("Write",) if self.written else ()) or ("Describe",)

    def rules_for(self, rebuild_ms: int) -> tuple[Rule, ...]:
        """Required settings, where a rebuild of windows reads back so far."""
        kept_for_rebuild = (kept(rebuild_ms, self.rebuilds, breaks=True),) if self.rebuilds and rebuild_ms else ()
        return (*kept_for_rebuild, *self.rules)


_INPUT = Role(
    ("input",),
    read=True,
    rebuilds="windows cannot be rebuilt after a restart",
    rules=(
        deleted("compaction removes readings that are needed to rebuild windows"),
        kept(DAY_MS, "readings are lost if the workers are down for longer"),
        UNBOUNDED,
        stamped("with the producers' timestamps, a device whose clock is ahead is not detected"),
        CLEAN,
    ),
)
_PREDICTIONS = Role(
    fields=PREDICTION,
    columnar=True,
    mapped=True,
    echoes=True,
    written=True,
    read=True,
    shows_progress=True,
    rules=_kept_a_week("a worker cannot find its position after the group's offsets expire (7 days by default)"),
)
_ALARMS = Role(
    fields=ALARM,
    mapped=True,
    written=True,
    read=True,
    shows_progress=True,
    rules=_kept_a_week("alarms are deleted before anybody explains or labels them"),
    settings=days(90),
)
_ALARM_STATE = Role(
    fields=ALARM_STATE,
    mapped=True,
    written=True,
    read=True,
    rules=(
        Rule(
            "cleanup.policy",
            equal_to("compact"),
            "compact",
            breaks=True,
            why="if the state of an active alarm is deleted, the alarm is raised again",
        ),
        Rule(
            "delete.retention.ms",
            at_least(10 * MINUTE_MS),
            str(DAY_MS),
            breaks=False,
            why="a worker that takes longer to read the alarm states may miss that an alarm returned to normal",
        ),
        STAMPED,
        CLEAN,
    ),
    settings={"cleanup.policy": "compact"},
)
_WINDOW_STATE = Role(
    written=True,
    read=True,
    rules=(
        Rule(
            "cleanup.policy",
            equal_to("compact"),
            "compact",
            breaks=True,
            why="if buckets of a window are deleted, aggregates are computed without them",
        ),
        Rule(
            "delete.retention.ms",
            at_least(10 * MINUTE_MS),
            str(DAY_MS),
            breaks=False,
            why="a worker that takes longer to read the window state may miss that a bucket was deleted",
        ),
        STAMPED,
        CLEAN,
    ),
    # After a restart, what is not compacted yet is read, too. So segments are small, and compacted early.
    settings={"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", "segment.bytes": str(64 * 2**20)},
)
_DEAD_LETTERS = Role(
    written=True,
    read=True,
    shows_progress=True,
    rebuilds="window rebuilds no longer know which records to exclude",
    rules=_kept_a_week("letters are deleted before anybody redrives them"),
    # A letter has headers in addition to the largest record.
    settings={"max.message.bytes": str(2 * BROKER_DEFAULT_MAX_BYTES), **days(30)},
)
_SKETCHES = Role(
    fields=SKETCH,
    written=True,
    rules=(
        deleted(COMPACTED_OUTPUT),
        kept(30 * DAY_MS, "the first sketches of a site, its baseline, are deleted"),
        CLEAN,
    ),
    settings=days(400),
)
_EVENTS = Role(
    fields=EVENT,
    rules=(
        deleted("compaction removes the history of drift", breaks=False),
        kept(30 * DAY_MS, "drift that is still active may be forgotten"),
    ),
    settings=days(400),
)
_LABELS = Role(
    fields=LABEL,
    rules=(
        deleted("compaction removes labels", breaks=False),
        kept(30 * DAY_MS, "model performance counts the labels of 30 days, and some are deleted"),
    ),
    settings=days(400),
)
_SHADOW = Role(
    fields=SHADOW,
    columnar=True,
    written=True,
    rules=(
        deleted(COMPACTED_OUTPUT),
        kept(_WEEK_MS, "shadow scores are deleted before the evaluation of a challenger ends"),
        CLEAN,
    ),
    settings=days(30),
)


class OutputTopics(Strict):
    """The roles in `outputs`."""

    predictions: Annotated[Output, _PREDICTIONS]
    alarms: Annotated[Output | None, _ALARMS] = None
    alarm_state: Annotated[Output | None, _ALARM_STATE] = None
    window_state: Annotated[Output | None, _WINDOW_STATE] = None
    dead_letters: Annotated[DeadLetters, _DEAD_LETTERS]


class MonitorTopics(Strict):
    """The roles in `monitor`."""

    sketches: Annotated[Output, _SKETCHES]
    events: Annotated[Output, _EVENTS]
    labels: Annotated[Output, _LABELS]
    shadow: Annotated[Output, _SHADOW]


def _declared(section: str, model: type[BaseModel]) -> Iterator[tuple[str, Role]]:
    for name, info in model.model_fields.items():
        for role in info.metadata:
            if isinstance(role, Role):
                yield name, replace(role, place=(section, name))


ROLES: Mapping[str, Role] = {
    "input": _INPUT,
    **dict(_declared("outputs", OutputTopics)),
    **dict(_declared("monitor", MonitorTopics)),
}
"""By name, in the order in which they are shown."""
