"""A champion that scores batches in this process, with a challenger in its shadow."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Message
from prometheus_client import generate_latest

from common.arrays import Float
from schemas.codec import decode
from schemas.registry import writer_schema_lookup
from tests.flagship import KNOWN_SCHEMAS, PIPELINE, flagship_schema
from tests.harness import START_MS, avro, reading
from tests.metric_text import metric_in
from worker.alarms.state_machine import AlarmPolicy
from worker.consume.message_columns import batch_of
from worker.encode.shadow import Shadow
from worker.encode.shadow_records import ShadowRecords
from worker.model.package import ModelPackage
from worker.observe.metrics import Metrics
from worker.observe.worker_status import Status
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

LOOKUP, SCORE = writer_schema_lookup(None, KNOWN_SCHEMAS), flagship_schema("ShadowScore")
MODULES, PERIOD_MS = 40, 10_000
POLICY = AlarmPolicy(setpoint=0.5, deadband=0.1, on_delay_ms=0, off_delay_ms=0, priorities={"high": 0.5})


@dataclass(frozen=True)
class Fake(ModelPackage):
    """The champion's package, but for what it makes of readings."""

    does: Any = None

    def score(self, features: Float) -> Float:
        return np.asarray(self.does(features))


@dataclass
class Scene:
    """A champion that scores batches, a shadow, and the records that came of it."""

    champion: ModelPackage
    share: float = 1.0
    max_ms: int = 2000
    records: list[dict[str, Any]] = field(default_factory=list)
    status: Status = field(default_factory=lambda: Status(Metrics(), "p", "i", "exactly_once"))
    partitions: dict[int, Partition] = field(default_factory=lambda: {0: Partition(0, 0, 0)})
    offset: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.scorer = scorer_of(PIPELINE, self.champion, self.champion.policy, LOOKUP)
        self.scorer.alarms.assign(0, {})
        assert PIPELINE.monitor is not None
        encode = ShadowRecords(PIPELINE, PIPELINE.monitor.shadow, None)
        self.shadow = Shadow(self.share, self.max_ms, encode, self.status, lambda: self.now_s)

    def challenge(self, does: Any, version: str = "2", **changes: Any) -> None:
        known = {name: getattr(self.champion, name) for name in ModelPackage.__dataclass_fields__}
        self.shadow.adopt(Fake(**(known | {"version": version} | changes), does=does), POLICY, PIPELINE.topology)

    def batch(self, *, commit: bool = True) -> Float:
        """One step of all modules; gives the champion's scores."""
        step = self.offset // MODULES
        messages = []
        for m in range(MODULES):
            name, ts = f"Rack1_Module{m:02}", START_MS + step * PERIOD_MS
            value = avro(reading(name, ts, avg_surface_temp_c=26.0 + m % 7 * 0.3))
            address: dict[str, Any] = {"topic": "t", "partition": 0, "offset": self.offset + m}
            messages.append(Message(**address, key=name.encode(), value=value, timestamp=(1, ts)))
        outcome, assigned = self.scorer.process(batch_of(messages), self.partitions), self.partitions
        self.shadow.begin(outcome, assigned)
        bulk = self.shadow.records(outcome, assigned).bulk
        if not commit:
            self.shadow.aborted()
        else:
            self.shadow.committed(outcome)
            self.scorer.merge(outcome, self.partitions)
            self.offset += MODULES
            self.records += [decode(m["value"], LOOKUP, SCORE) for some in bulk.values() for m in some]
        return outcome.scored.probability

    def metric(self, which: str, /, **labels: str) -> float:
        text = generate_latest(self.status.metrics.registry).decode()
        return metric_in(text, f"hazardstream_{which}", **labels)

    @property
    def idle(self) -> str:
        assert self.status.challenger is not None
        return str(self.status.challenger["idle"])
