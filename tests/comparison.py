"""Count how a committed output differs from that of one uninterrupted run over the same input."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from confluent_kafka import Message

from worker.alarms.state_machine import AlarmState

Address: TypeAlias = tuple[int, int]
"""Partition and offset of an input record."""
Transition: TypeAlias = tuple[str, str, str, int]
"""Key, rule (empty: the model's own), kind and event time."""
_EXAMPLES = 20


@dataclass
class Expected:
    """What one uninterrupted run over the input gives.

    Attributes:
        probability: of each scored reading.
        in_window: readings in the window of each scored reading.
        rejected: reason of each dead letter.
        rejected_ms: Kafka timestamp of each dead letter's original.
        deduplicated: readings that have no outcome of their own.
        transitions: of alarms, in order.
        alarm_states: by partition and key, where not idle at the end.
    """

    probability: dict[Address, float] = field(default_factory=dict)
    in_window: dict[Address, int] = field(default_factory=dict)
    rejected: dict[Address, str] = field(default_factory=dict)
    rejected_ms: dict[Address, int] = field(default_factory=dict)
    deduplicated: int = 0
    transitions: list[Transition] = field(default_factory=list)
    alarm_states: dict[tuple[int, bytes], AlarmState] = field(default_factory=dict)


@dataclass
class Comparison:
    """How the output compares. All but the first two are zero where the output is that of an uninterrupted run.

    Attributes:
        scored: input records with a prediction.
        dead_lettered: input records with a dead letter.
        missing: input records that should have an outcome and have none.
        duplicated: outcomes beyond the first of the same input record.
        different: input records whose first outcome is not the expected one.
        out_of_order: predictions of a reading that came before the one of the prediction before, of the same module.
        alarms_missing: expected transitions that are not there.
        alarms_extra: transitions that are there and not expected.
        alarm_states_different: keys whose alarm state, read back at the end, is not the expected one.
        examples: the first few of what is wrong, in words.
    """

    scored: int = 0
    dead_lettered: int = 0
    missing: int = 0
    duplicated: int = 0
    different: int = 0
    out_of_order: int = 0
    alarms_missing: int = 0
    alarms_extra: int = 0
    alarm_states_different: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, int]:
        """The counts that should be zero."""
        return {k: v for k, v in vars(self).items() if k not in {"scored", "dead_lettered", "examples"}}

    def note(self, fault: str, what: object, count: int = 1) -> None:
        """Count a fault and keep it as an example while there are few."""
        setattr(self, fault, getattr(self, fault) + count)
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{fault}: {what}")


FAULTS = tuple(Comparison().faults)
"""Names of the counts that should be zero."""


def compare(
    expected: Expected,
    *,
    predictions: Iterable[dict[str, Any]],
    dead_letters: Iterable[tuple[Address, str]],
    transitions: Iterable[Transition],
    alarm_states: Mapping[tuple[int, bytes], AlarmState],
) -> Comparison:
    """Compare an output with the expected one. Predictions and dead letters are gone through once, not kept.

    Args:
        expected: see there.
        predictions: committed HazardPrediction records; those of a partition in the order of its log.
        dead_letters: where each committed dead letter came from, and its reason.
        transitions: of each committed alarm transition, as those expected.
        alarm_states: what the compacted topic says in the end, without what is idle.
    """
    found = Comparison()
    seen: set[Address] = set()
    latest: dict[str, Address] = {}
    for record in predictions:
        address, module = (record["source_partition"], record["source_offset"]), record["module_id"]
        if address in seen:
            found.note("duplicated", f"prediction of {module} at {address}")
            continue
        seen.add(address)
        got = record["hazard_probability"], record["readings_in_window"]
        wanted = expected.probability.get(address), expected.in_window.get(address)
        if got != wanted:  # bit for bit
            found.note("different", f"prediction of {module} at {address}: {got}, expected {wanted}")
        if address < latest.get(module, address):
            found.note("out_of_order", f"prediction of {module} at {address}, after that at {latest[module]}")
        latest[module] = address
    found.scored = len(seen)
    for address, reason in dead_letters:
        if address in seen:
            found.note("duplicated", f"dead letter {reason} at {address}")
            continue
        seen.add(address)
        if reason != expected.rejected.get(address):
            found.note("different", f"dead letter at {address}: {reason}, expected {expected.rejected.get(address)}")
    found.dead_lettered = len(seen) - found.scored
    for outcome in (expected.probability, expected.rejected):
        for address in outcome.keys() - seen:
            found.note("missing", f"outcome at {address}: {outcome[address]}")
    _compare_alarms(found, expected, Counter(transitions), alarm_states)
    return found


def _compare_alarms(
    found: Comparison,
    expected: Expected,
    got: Counter[Transition],
    alarm_states: Mapping[tuple[int, bytes], AlarmState],
) -> None:
    wanted = Counter(expected.transitions)
    for transition, count in (wanted - got).items():
        found.note("alarms_missing", transition, count)
    for transition, count in (got - wanted).items():
        found.note("alarms_extra", transition, count)
    for place in expected.alarm_states.keys() | alarm_states.keys():
        is_, should = alarm_states.get(place), expected.alarm_states.get(place)
        if is_ != should:
            found.note("alarm_states_different", f"{place}: {is_}, expected {should}")


def dead_letter_source(message: Message) -> tuple[tuple[int, int], str]:
    """Where a dead letter came from, and its reason."""
    headers = dict(message.headers())
    address = int(headers["__streams.errors.partition"]), int(headers["__streams.errors.offset"])
    return address, headers["hazardstream.reason"].decode()


def with_wrong_time(message: Message, expected: Expected) -> tuple[tuple[int, int], str] | None:
    """A dead letter whose original's time is not what it should be; None where it is."""
    (address, reason), told = dead_letter_source(message), dict(message.headers())["hazardstream.timestamp"].decode()
    should = str(expected.rejected_ms.get(address, told))
    return None if told == should else (address, f"{reason} with the time {told} and not {should}")
