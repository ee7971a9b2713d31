"""Triggers of a retraining: active events on the topic that were not handled yet, or a file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from common.errors import UserError
from pipelines.battery_hazard.training.retraining.files import read_json, write_whole
from training.monitoring.drift.events import PERFORMANCE, Published
from training.monitoring.topics import MonitoringTopics
from worker.alarms.state_machine import ACTIVE

KINDS = ("drift", "untrained", PERFORMANCE)
"""Events that a new model may help with; a missing sensor has to be repaired instead."""
_IDENTITIES = TypeAdapter(set[str])


@dataclass(frozen=True)
class Trigger:
    """A reason to retrain. `identity` stays the same between two checks."""

    identity: str
    words: str


@dataclass
class Triggers:
    """Reads events; a file remembers which triggers were handled.

    Attributes:
        topics: the monitoring topics.
        memory: file of the handled triggers.
        file: its existence is also a trigger, and its text the reason. None: no such file.
    """

    topics: MonitoringTopics
    memory: Path
    file: Path | None = None
    _records: list[dict[str, Any]] = field(default_factory=list)

    def waiting(self) -> list[Trigger]:
        """All active triggers that were not handled.

        Raises:
            DependencyDownError: broker or registry does not answer; call again.
            UserError: the trigger file or the memory file cannot be read.
        """
        self._records.extend(self.topics.news("events"))
        answered = self._answered()
        latest = Published.of(self._records).latest.items()
        messages = {(r["site"], r["kind"], r["subject"], r["ts"]): r["message"] for r in self._records}
        found = [
            Trigger("/".join((*place, str(ts))), messages[*place, ts])
            for place, (state, ts) in sorted(latest)
            if state == ACTIVE and place[1] in KINDS
        ]
        if self.file is not None and (words := self._asked(self.file)) is not None:
            found.append(Trigger(f"file {self.file}", words.strip() or f"{self.file} exists"))
        return [trigger for trigger in found if trigger.identity not in answered]

    def answer(self, triggers: Iterable[Trigger]) -> None:
        """Remember that these were handled, and delete the trigger file."""
        identities = {t.identity for t in triggers}
        if self.file is not None and f"file {self.file}" in identities:
            self.file.unlink(missing_ok=True)
            identities.discard(f"file {self.file}")
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.memory, json.dumps(sorted(identities | self._answered()), indent=1))

    def _answered(self) -> set[str]:
        if not self.memory.exists():
            return set()
        return read_json(self.memory, _IDENTITIES, "remove it; all active triggers are then handled again")

    @staticmethod
    def _asked(file: Path) -> str | None:
        """Text of the trigger file, if it exists."""
        try:
            return file.read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(
                f"the trigger file {file} cannot be read ({error.strerror}): replace it with a text file, or delete it"
            ) from error
