"""Ground truth as people confirm it: labels, written to a topic and read back."""

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
    """What really happened.

    Attributes:
        key: whom it concerns (the key).
        ts: of an event, the point of no return; of a false alarm, a moment at which it stood; ms.
        kind: see HazardLabel.
        by: who said so.
        note: in their words.
    """

    key: str
    ts: int
    kind: str
    by: str | None = None
    note: str | None = None

    def record(self, pipeline: Pipeline) -> dict[str, Any]:
        """As it is published."""
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
    """The labels that hold, by time: of those with the same identity the last, unless it was withdrawn.

    One of a time to come is mistyped, and would stand for the last days by itself: it is left out, and logged.
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
