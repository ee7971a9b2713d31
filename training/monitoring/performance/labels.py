"""Labels: what people confirmed. They are written to a topic and read back."""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from common.times import iso_utc
from training.monitoring.drift.clock import lies_ahead
from worker.config.pipeline import Pipeline

_LOG = structlog.get_logger(__name__)
EVENT, FALSE_ALARM, WITHDRAWN = "event", "false_alarm", "withdrawn"
KINDS = (EVENT, FALSE_ALARM, WITHDRAWN)
_NAMESPACE = uuid.UUID("b0c2f7be-51a1-5b38-8a43-8f0f0d8e6d20")


@dataclass(frozen=True)
class Label:
    """What a person confirmed about a key.

    Attributes:
        key: the key.
        ts: point of no return of an event, or a time at which a false alarm was active; ms.
        kind: one of `KINDS`.
        by: who confirmed it.
        note: free text.
    """

    key: str
    ts: int
    kind: str
    by: str | None = None
    note: str | None = None

    def record(self, pipeline: Pipeline) -> dict[str, Any]:
        """The record that is published."""
        return {
            "label_id": str(uuid.uuid5(_NAMESPACE, f"{self.key}/{self.ts}")),
            pipeline.input.key: self.key,
            "kind": self.kind,
            "ts": self.ts,
            "labelled_at": time.time_ns() // 1_000_000,
            "by": self.by,
            "note": self.note,
        }


def labels_from(records: Iterable[Mapping[str, Any]], pipeline: Pipeline) -> list[Label]:
    """The valid labels, by time: the last one of each identity, unless it was withdrawn.

    A label in the future is mistyped and would distort the figures of the last days: it is ignored and logged.
    """
    latest = {record["label_id"]: record for record in sorted(records, key=lambda r: r["labelled_at"])}
    labels = []
    for record in latest.values():
        label = Label(record[pipeline.input.key], record["ts"], record["kind"], record["by"], record["note"])
        if label.kind == WITHDRAWN:
            continue
        if lies_ahead(label.ts):
            _LOG.error("label in the future ignored; withdraw it", key=label.key, at=iso_utc(label.ts), kind=label.kind)
            continue
        labels.append(label)
    return sorted(labels, key=lambda label: (label.ts, label.key))
