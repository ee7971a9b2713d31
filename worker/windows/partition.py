"""What a worker holds for one assigned partition, and the checkpoint it commits with the offset."""

from dataclasses import dataclass, field

import numpy as np

from common.arrays import NEVER, Int
from worker.windows.keyed_state import REBUILD_SPANS

_NONE = "-"
# How many ids each version has at most.
_IDS = {"hazardstream/2": 0, "hazardstream/3": 1, "hazardstream/4": 2, "hazardstream/5": 3}


@dataclass(frozen=True)
class Checkpoint:
    """Metadata of a committed offset: from where in the log the windows can be rebuilt exactly.

    Attributes:
        rebuild_from: offset of the first reading that can still matter.
        clock: stream time just before that reading, ms.
        span_ms: how far back the windows reach.
        topic_id: id of the input topic; empty if not known.
        states_id: id of the alarm-state topic that holds the state of all alarms; empty if not known.
        window_state_id: id of the topic that holds all aggregates; empty if not known, or if there are none.
    """

    rebuild_from: int
    clock: int
    span_ms: int
    topic_id: str = ""
    states_id: str = ""
    window_state_id: str = ""

    def dump(self, topic_id: str, states_id: str, window_state_id: str) -> str:
        """The metadata of a committed offset."""
        ids = " ".join(each or _NONE for each in (topic_id, states_id, window_state_id))
        return f"hazardstream/5 {self.rebuild_from} {self.clock} {self.span_ms} {ids}"

    @classmethod
    def load(cls, metadata: str | None) -> "Checkpoint | None":
        """Parse metadata; None if another tool committed the offset. Older versions have fewer ids."""
        version, *fields = (metadata or "").split() or [""]
        numbers, ids = fields[:3], fields[3:]
        if version not in _IDS or len(numbers) < 3 or len(ids) > _IDS[version] or not all(map(_is_integer, numbers)):
            return None
        rebuild_from, clock, span_ms = map(int, numbers)
        known = ("" if each == _NONE else each for each in ids)
        return cls(rebuild_from, clock, span_ms, *known)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


@dataclass
class Partition:
    """State of one assigned partition.

    Attributes:
        number: of the partition in its topic.
        next_offset: the first message that is not merged yet.
        live_from: messages before this offset were processed and committed before. They only rebuild windows.
        clock: stream time, ms: the latest event time seen.
        slots: window slot of each key.
        states_id: id of the alarm-state topic that holds the state of all its alarms; empty if not known.
        window_state_id: id of the topic that holds all its aggregates; empty if not known, or if there are none.
        exclusions: offsets before `live_from` that were dead letters when they were live: a replay leaves them out.
        marks: where a later rebuild may start: the latest one that is old enough, and all after it.
    """

    number: int
    next_offset: int
    live_from: int
    clock: int = NEVER
    slots: dict[bytes, int] = field(default_factory=dict)
    states_id: str = ""
    window_state_id: str = ""
    exclusions: Int = field(default_factory=lambda: np.empty(0, np.int64))
    marks: list[Checkpoint] = field(default_factory=list)

    def advance(self, next_offset: int, clock: int, span_ms: int) -> None:
        """Move past a merged batch."""
        # Marks a sixteenth of a span apart are few, and a rebuild replays little more than it needs.
        if not self.marks or self.clock >= self.marks[-1].clock + span_ms // 16:
            self.marks.append(Checkpoint(self.next_offset, self.clock, span_ms))
        self.next_offset, self.clock = next_offset, clock
        while len(self.marks) > 1 and self.marks[1].clock <= clock - REBUILD_SPANS * span_ms:
            self.marks.pop(0)

    def adopt_windows(self, rebuilt: "Partition") -> None:
        """Use the windows that were rebuilt beside the loop up to the same offset, with their clock and marks.

        Everything else stays, because a window rebuild does not know it (`states_id`, for example).
        """
        self.clock, self.slots, self.marks = rebuilt.clock, rebuilt.slots, rebuilt.marks

    def checkpoint(self, clock: int, span_ms: int) -> Checkpoint:
        """What to commit with an offset at which the stream time is `clock`."""
        if span_ms == 0:  # nothing is replayed: stream time goes on from here
            return Checkpoint(self.next_offset, clock, span_ms)
        marks = [*self.marks, Checkpoint(self.next_offset, self.clock, span_ms)]
        old_enough = [m for m in marks if m.clock <= clock - REBUILD_SPANS * span_ms]
        return old_enough[-1] if old_enough else marks[0]
