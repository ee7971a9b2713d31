"""Vectorised checks of readings, with the rules that the record's .avsc file declares.

A row that fails is then validated by a Pydantic model of the same rules, so that its dead letter names field,
rule and value.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from common.arrays import Bool, Float, Int
from common.dead_letter_reasons import DeadLetterReason
from common.validation_errors import fault_texts
from schemas.field_rules import FieldRules
from schemas.text_column import TextColumn
from worker.config.inputs_outputs import Input
from worker.score.event_time import implausible, implausible_text, other_unit
from worker.score.message_keys import all_that_say
from worker.score.readings import Readings, Rejection


class Valid(NamedTuple):
    """Readings fit to be scored. Masked values are no longer present, and NaN where they are numbers.

    masked: shape [n, sensors and categories].

    rekeyed: which of them have a message key that says the same as the record's key field in another form, shape [n].
    """

    readings: Readings
    masked: Bool
    rekeyed: Bool


class Validator:
    """Checks readings of one input."""

    def __init__(self, source: Input, *, keyed: bool = True) -> None:
        """Checks for an input. `keyed`: whether windows or alarms are kept by key, so that each reading needs one."""
        self._source, self._key_needed = source, keyed and source.key_field is None
        self._sensors = source.sensors()
        rules = [source.rules(sensor) for sensor in self._sensors]
        # Also refuses NaN and infinities: a comparison with NaN is false, and the largest double is finite.
        largest = np.finfo(np.float64).max
        self._low = np.array([max(rule.low, -largest) for rule in rules], np.float64)
        self._high = np.array([min(rule.high, largest) for rule in rules], np.float64)
        self._time = source.rules(source.time_field) if source.time_field else FieldRules("whole")

    @property
    def max_future_ms(self) -> int:
        """How far ahead of its Kafka timestamp a reading may be."""
        return self._source.max_future_ms

    def __call__(self, readings: Readings, message_keys: TextColumn, broker_ts: Int) -> tuple[Valid, list[Rejection]]:
        """Split into valid readings and rejections.

        Args:
            readings: as decoded.
            message_keys: Kafka keys of the whole batch (empty where null), by row.
            broker_ts: Kafka timestamps of the whole batch, ms, by row; negative where a record has none, and its time
                cannot be checked.
        """
        r, source = self._identified(readings, message_keys, broker_ts), self._source
        with np.errstate(invalid="ignore"):
            usable = r.present & (r.values >= self._low) & (r.values <= self._high)
        fitting = {name: texts.present & ~self._out_of_length(texts.text, name) for name, texts in r.categories.items()}
        masked = _masked(r, usable, fitting)
        # The record's own rule may refuse another unit, too, but cannot say that it is one.
        invalid = ((r.ts < self._time.low) | (r.ts > self._time.high)) & ~other_unit(r.ts)
        invalid |= self._empty(r, usable, fitting)
        for text, field in ((r.key, source.key_field), (r.group, source.group_field)):
            if field is not None:
                invalid |= self._out_of_length(text, field)
        if source.on_invalid_sensor == "dead_letter":
            invalid |= masked.any(axis=1)
        unkeyed, wrong_key, rekeyed = self._compare_keys(r.key, message_keys.take(r.row), ~invalid)
        invalid |= unkeyed
        stamped = broker_ts[r.row]
        mistimed = ~invalid & ~wrong_key & implausible(r.ts, stamped)
        unstamped = ~(invalid | wrong_key | mistimed) & (stamped < 0)
        future = ~(invalid | wrong_key | mistimed | unstamped) & (r.ts > stamped + source.max_future_ms)
        rejections = [
            Rejection(int(r.row[i]), DeadLetterReason.INVALID, self._invalid_text(r, i))
            for i in np.flatnonzero(invalid & ~unkeyed).tolist()
        ]
        rejections += [
            Rejection(int(r.row[i]), DeadLetterReason.NO_KEY, "the message has no key that is text")
            for i in np.flatnonzero(unkeyed).tolist()
        ]
        rejections += [
            Rejection(int(r.row[i]), DeadLetterReason.WRONG_KEY, f"the message key is not {source.key} {r.key[i]!r}")
            for i in np.flatnonzero(wrong_key).tolist()
        ]
        rejections += [
            Rejection(int(r.row[i]), DeadLetterReason.IMPLAUSIBLE_TIME, self._implausible_text(int(r.ts[i])))
            for i in np.flatnonzero(mistimed).tolist()
        ]
        rejections += [
            Rejection(int(r.row[i]), DeadLetterReason.NO_TIMESTAMP, self._unstamped_text(int(r.ts[i])))
            for i in np.flatnonzero(unstamped).tolist()
        ]
        rejections += [
            Rejection(int(r.row[i]), DeadLetterReason.FUTURE, self._ahead(int(r.ts[i]), int(stamped[i])))
            for i in np.flatnonzero(future).tolist()
        ]
        good = ~(invalid | wrong_key | mistimed | unstamped | future)
        kept = r.take(good)
        values: Float = np.where(usable[good], kept.values, np.nan)
        categories = {name: replace(texts, present=fitting[name][good]) for name, texts in kept.categories.items()}
        readings = replace(kept, values=values, present=usable[good], categories=categories)
        return Valid(readings, masked[good], rekeyed[good]), rejections

    def _compare_keys(self, keys: TextColumn, message_keys: TextColumn, valid: Bool) -> tuple[Bool, Bool, Bool]:
        """Which valid readings have no key, another key than their message, or the same in another form, shape [n]."""
        other, none = valid & ~keys.equals(message_keys), np.zeros(len(keys), np.bool_)
        if self._source.key_field is None:
            return (other | valid & (keys.length == 0)) if self._key_needed else none, none, none
        rekeyed, rows = none.copy(), np.flatnonzero(other)
        rekeyed[rows] = all_that_say(message_keys.take(rows), keys.take(rows))
        return none, other & ~rekeyed, rekeyed

    def _identified(self, readings: Readings, message_keys: TextColumn, broker_ts: Int) -> Readings:
        """Readings with the key and the time of their messages, where the record has no fields of them."""
        source = self._source
        key = readings.key if source.key_field else _text(message_keys.take(readings.row))
        return replace(readings, key=key, ts=readings.ts if source.time_field else broker_ts[readings.row])

    def _empty(self, r: Readings, usable: Bool, fitting: Mapping[str, Bool]) -> Bool:
        """Which readings hold no usable value, of a record that has fields of values."""
        if not (self._sensors or r.categories):
            return np.zeros(len(r.row), np.bool_)
        found: Bool = np.asarray(usable.any(axis=1))
        for present in fitting.values():
            found |= present
        return ~found

    def _unstamped_text(self, ts: int) -> str:
        return f"no Kafka timestamp that {self._source.time} {ts} can be checked against"

    def _implausible_text(self, ts: int) -> str:
        return f"{self._source.time} {ts} {implausible_text(ts)}"

    def _ahead(self, ts: int, stamped: int) -> str:
        allowed = self._source.max_future_ms
        return (
            f"{self._source.time} {ts} is {ts - stamped} ms ahead of the record's Kafka timestamp; allowed: {allowed}"
        )

    def _out_of_length(self, column: TextColumn, field: str) -> Bool:
        rules = self._source.rules(field)
        wrong = column.length < rules.shortest
        if rules.longest is not None:
            # There are never more characters than bytes, so only these need counting.
            rows = np.flatnonzero(column.length > rules.longest)
            wrong[rows] = column.take(rows).characters() > rules.longest
        return wrong

    def _invalid_text(self, r: Readings, i: int) -> str:
        source = self._source
        found: dict[str, Any] = {"key": r.key[i], "group": r.group[i], "time": int(r.ts[i])}
        record = {name: found[role] for role, name in source.identity_fields.items()}
        record |= {name: texts.text[i] if texts.present[i] else None for name, texts in r.categories.items()}
        record |= {s: float(r.values[i, j]) if r.present[i, j] else None for j, s in enumerate(self._sensors)}
        try:
            source.record_model.model_validate(record)
        except ValidationError as error:
            return fault_texts(error)
        return "no field has a usable value"


def _text(keys: TextColumn) -> TextColumn:
    """Message keys as texts: bytes that are none are written as an escape."""
    if keys.ascii().all():
        return keys
    return TextColumn.of([keys.raw(i).decode(errors="backslashreplace").encode() for i in range(len(keys))])


def _masked(r: Readings, usable: Bool, fitting: Mapping[str, Bool]) -> Bool:
    """Which values are present and not usable, shape [n, sensors and categories]."""
    unfit = [texts.present & ~fitting[name] for name, texts in r.categories.items()]
    masked = r.present & ~usable
    return np.column_stack([masked, *unfit]) if unfit else masked
