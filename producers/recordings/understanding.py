"""How a recording was understood: what was read, in which units, what was left out, and what looks wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.times import iso_utc
from producers.recordings.bad_rows import SHOWN
from producers.recordings.database import quoted
from producers.recordings.mapping import Mapping
from producers.recordings.recording import Recording
from producers.recordings.restarts import restart_note
from worker.config.pipeline import Pipeline

_SAMPLE = 1_000_000
_FASTEST_MS, _SLOWEST_MS = 50.0, 3_600_000.0
_MARKS = (-9999.0, -999.0, -99999.0, 9999.0, 99999.0, -32768.0, 32767.0, 65535.0)
"""Numbers by which loggers mark a value that is missing."""


@dataclass(frozen=True)
class SensorFacts:
    """The values of one sensor, before they are rescaled to the pipeline's topology.

    Attributes:
        source: the column or expression. unit: of the field.
        converted_from: the unit that the column states, if it is another one.
        count: number of readings with a value.
        outside: number of values outside of the field's range, which a worker masks.
        mark: a number among them by which loggers mark a missing value.
    """

    sensor: str
    source: str
    unit: str
    converted_from: str
    count: int
    minimum: float | None
    median: float | None
    maximum: float | None
    outside: int
    mark: float | None


def understanding(recording: Recording, pipeline: Pipeline, mapping: Mapping) -> dict[str, Any]:
    """Everything about how the files were read, for JSON and for `as_lines`."""
    loaded = recording.loaded
    facts = [_sensor_facts(recording, sensor, pipeline) for sensor in recording.sensors]
    first = min(span.first_ts for span in recording.spans.values())
    last = max(span.last_ts for span in recording.spans.values())
    period = _period_ms(recording)
    used = set().union(*(sources.used for sources in loaded.sources)) | set(mapping.key_columns)
    texts = " ".join(used)
    names = dict.fromkeys(name for table in loaded.tables for name in table.names)
    return {
        "files": [str(table.path) for table in loaded.tables],
        "rows": loaded.rows,
        "readings": len(recording),
        "keys": len(recording.names),
        "left_out": dict(loaded.left_out),
        "bad_rows": [f"{loaded.tables[row.file].path.name}: {row}" for row in loaded.bad[:SHOWN]],
        "not_numbers": dict(loaded.not_numbers),
        "times": recording.times,
        "time_zone": None if recording.relative else mapping.time_zone or "UTC where the file does not say it",
        "first": None if recording.relative else iso_utc(first),
        "last": None if recording.relative else iso_utc(last),
        "seconds": (last - first) / 1000,
        "period_s": None if period is None else round(period / 1000, 6),
        "sensors": [vars(fact) for fact in facts],
        "columns_not_used": [name for name in names if name not in used and name not in texts],
        "notes": _notes(recording),
        "warnings": _warnings(recording, facts, period),
    }


def _period_ms(recording: Recording) -> float | None:
    known = [period for period in recording.periods_ms.values() if not np.isnan(period)]
    return float(np.median(known)) if known else None


def _sensor_facts(recording: Recording, sensor: str, pipeline: Pipeline) -> SensorFacts:
    rules, column = pipeline.input.rules(sensor), quoted(sensor)
    every = max(len(recording) // _SAMPLE, 1)
    low, high = (
        f"{bound!r}::DOUBLE" if np.isfinite(bound) else f"'{bound}'::DOUBLE"
        for bound in (float(rules.low), float(rules.high))
    )
    marks = ", ".join(map(str, _MARKS))
    ((count, least, most, outside, mark),) = recording.query(
        f"SELECT count({column}), min({column}), max({column}), "
        f"count(*) FILTER (NOT {column} BETWEEN {low} AND {high}), "
        f"mode({column}) FILTER ({column} IN ({marks})) FROM readings WHERE fault = 0"
    )
    ((median,),) = recording.query(f"SELECT median({column}) FROM readings WHERE fault = 0 AND rowid % {every} = 0")
    outside = (
        outside if recording.factor(sensor) == 1 else _outside(recording, column, low, high, recording.factor(sensor))
    )
    loaded = recording.loaded
    at = next(i for i, sources in enumerate(loaded.sources) if sensor in sources.sensors)
    found = loaded.fields[at].conversions.get(sensor)
    changed = found is not None and (found.zero, found.per) != (0.0, 1.0)
    return SensorFacts(
        sensor,
        ("-" if loaded.sources[at].sensors[sensor].sign < 0 else "") + loaded.sources[at].sensors[sensor].text,
        rules.unit,
        found.unit if found is not None and changed else "",
        *(count, least, median, most, outside, mark),
    )


def _outside(recording: Recording, column: str, low: str, high: str, factor: float) -> int:
    inside = f"{column} * {factor!r}::DOUBLE BETWEEN {low} AND {high}"
    sql = f"SELECT count(*) FILTER (NOT {inside}) FROM readings WHERE fault = 0"
    ((outside,),) = recording.query(sql)
    return int(outside)


def _notes(recording: Recording) -> list[str]:
    loaded = recording.loaded
    notes = [f"{table.path.name}: {note}" for table in loaded.tables for note in table.notes]
    notes += [f"left out: {what}, {count:,}" for what, count in loaded.told.items()]
    if recording.relative:
        notes.append(f"times count from the start ({recording.times})")
    return notes


def _warnings(recording: Recording, facts: list[SensorFacts], period: float | None) -> list[str]:
    found = []
    if sum(recording.backwards.values()):
        loaded = recording.loaded
        found += [
            note for file in range(len(loaded.tables)) if (note := restart_note(loaded, file, recording.database))
        ][:SHOWN]
    if recording.repeated:
        found.append(
            f"{recording.repeated:,} readings have the same time as the one before them: is a part of the time, or a "
            "key, in another column? (ts=Date || ' ' || Time, --key-columns)"
        )
    if period is not None and period < _FASTEST_MS:
        found.append(f"a reading every {period:g} ms: is the unit of the time right? (--time-unit, --time-format)")
    if period is not None and period > _SLOWEST_MS:
        found.append(
            f"a reading every {period / 3_600_000:g} h: is the unit of the time right? (--time-unit, --time-format)"
        )
    for fact in facts:
        found += _doubts(fact)
    return found


def _doubts(fact: SensorFacts) -> list[str]:
    """What looks wrong with the values of a sensor."""
    if not fact.count or fact.median is None:
        return [f"{fact.sensor} ({fact.source}) has no value that is a number; is it the right column?"]
    found = []
    if fact.mark is not None:
        found.append(
            f"{fact.sensor} holds {fact.mark:g}, as loggers mark a missing value: nullif({fact.source}, {fact.mark:g})"
        )
    if fact.outside:
        found.append(
            f"{fact.sensor}: {fact.outside:,} values are outside of what it can be, and are masked as by a worker"
        )
    stated = bool(fact.converted_from)
    if (
        fact.unit == "°C"
        and not stated
        and 55 <= fact.median <= 130
        and fact.maximum is not None
        and fact.maximum < 250
    ):
        found.append(f"{fact.sensor} has a median of {fact.median:g} °C: is it in °F? Then ({fact.source} - 32) / 1.8")
    if fact.unit == "°C" and not stated and 255 <= fact.median <= 340:
        found.append(f"{fact.sensor} has a median of {fact.median:g} °C: is it in kelvin? Then {fact.source} - 273.15")
    if fact.unit == "°C" and not stated and 150 <= fact.median < 255:
        found.append(f"{fact.sensor} has a median of {fact.median:g} °C: is it in tenths? Then {fact.source} / 10")
    return found


def as_lines(facts: dict[str, Any]) -> list[str]:
    """The understanding in a few lines of text."""
    files = facts["files"]
    which = files[0] if len(files) == 1 else f"{len(files)} files"
    span = f"{facts['first']} to {facts['last']}" if facts["first"] else f"{facts['seconds']:,.0f} s long"
    period = "" if facts["period_s"] is None else f", a reading every {facts['period_s']:g} s"
    zone = f", zone {facts['time_zone']}" if facts["time_zone"] else ""
    lines = [
        f"{which}: {facts['rows']:,} rows, {facts['readings']:,} readings of {facts['keys']:,} keys",
        f"time: {facts['times']}{zone}; {span}{period}",
    ]
    for fact in facts["sensors"]:
        unit = f"{fact['converted_from']} to {fact['unit']}" if fact["converted_from"] else fact["unit"]
        values = "no value"
        if fact["count"]:
            values = f"{fact['minimum']:g} … {fact['median']:g} … {fact['maximum']:g} {unit}, {fact['count']:,} values"
        lines.append(f"{fact['sensor']} = {fact['source']}: {values}")
    if facts["columns_not_used"]:
        named = facts["columns_not_used"]
        lines.append(f"not used: {', '.join(named[:20])}" + (f" and {len(named) - 20} more" if len(named) > 20 else ""))
    lines += [f"note: {note}" for note in facts["notes"]]
    if facts["left_out"]:
        reasons = ", ".join(f"{why} {count:,}" for why, count in facts["left_out"].items())
        lines.append(f"refused: {reasons} ({'; '.join(facts['bad_rows'])})")
    if facts["not_numbers"]:
        counts = ", ".join(f"{column} {count:,}" for column, count in facts["not_numbers"].items())
        lines.append(f"values that are no numbers count as missing: {counts}")
    return lines + [f"warning: {warning}" for warning in facts["warnings"]]
