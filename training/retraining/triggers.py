"""What asks for a retraining: events on the topic that stand and were not answered yet, or a file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.drift.events import PERFORMANCE, Published
from training.drift.topics import MonitoringTopics
from worker.alarms import ACTIVE

KINDS = ("drift", "untrained", PERFORMANCE)
"""Events that another model may help against; a sensor that is missing has to be mended."""


@dataclass(frozen=True)
class Trigger:
    """A reason to retrain. `identity` is the same whenever it is met."""

    identity: str
    words: str


@dataclass
class Triggers:
    """Reads events on and on; what was answered is remembered in a file.

    Attributes:
        topics: where events are.
        memory: file of what was answered.
        file: a file whose being there is a reason, too; its text says which. None: there is none.
    """

    topics: MonitoringTopics
    memory: Path
    file: Path | None = None
    _records: list[dict[str, Any]] = field(default_factory=list)

    def waiting(self) -> list[Trigger]:
        """All that stands and was not answered.

        Raises:
            DependencyDownError: broker or registry does not answer; call again.
        """
        self._records.extend(self.topics.news("events"))
        answered = self._answered()
        standing = Published.of(self._records).latest.items()
        messages = {(r["site"], r["kind"], r["subject"], r["ts"]): r["message"] for r in self._records}
        found = [
            Trigger("/".join((*place, str(ts))), messages[*place, ts])
            for place, (state, ts) in sorted(standing)
            if state == ACTIVE and place[1] in KINDS
        ]
        if self.file is not None and self.file.exists():
            found.append(Trigger(f"file {self.file}", self.file.read_text().strip() or f"{self.file} is there"))
        return [trigger for trigger in found if trigger.identity not in answered]

    def answer(self, triggers: Iterable[Trigger]) -> None:
        """Remember that these were answered; the file is removed."""
        identities = {t.identity for t in triggers}
        if self.file is not None and f"file {self.file}" in identities:
            self.file.unlink(missing_ok=True)
            identities.discard(f"file {self.file}")
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.memory.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(sorted(identities | self._answered()), indent=1))
        unfinished.replace(self.memory)

    def _answered(self) -> set[str]:
        return set(json.loads(self.memory.read_text())) if self.memory.exists() else set()
