"""Sums the workers' sketches by site: by day for distributions, by hour for missing sensors and schemas."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np

from common.arrays import Int
from common.times import DAY_MS, HOUR_MS

_HOURS_A_DAY = 12
"""A day with fewer hours of data is ignored, because day and night differ."""
_READINGS_A_DAY = 100


def _usable(hours: int, readings: int) -> bool:
    return hours >= _HOURS_A_DAY and readings >= _READINGS_A_DAY


@dataclass
class Day:
    """A day of a site.

    Attributes:
        counts: shape [columns, width], see `worker.model.reference`.
        key_hours: sum over hours of the number of distinct keys; the number of independent observations.
        hours: hours with data.
        readings: number of readings in the sample.
    """

    counts: Int
    key_hours: int = 0
    hours: set[int] = field(default_factory=set)
    readings: int = 0

    @property
    def usable(self) -> bool:
        """Whether the day has enough data to stand for the site."""
        return _usable(len(self.hours), self.readings)


@dataclass
class Hour:
    """An hour of a site. missing: shape [sensors]; schemas: readings by writer's schema."""

    missing: Int
    readings: int = 0
    schemas: Counter[str] = field(default_factory=Counter)


@dataclass
class SiteHistory:
    """The history of a site under one reference.

    Attributes:
        reference: digest of columns and bins.
        columns: names of the columns.
        sensors: names of the sensors.
        model: name and version of the model that scored last.
        hours: by start, ms. Shared by all references: missing sensors do not depend on columns and bins.
        days: by start, ms.
        last_ts: start of the last hour under this reference, ms.
    """

    reference: str
    columns: tuple[str, ...]
    sensors: tuple[str, ...]
    model: tuple[str, str]
    hours: dict[int, Hour] = field(default_factory=dict)
    days: dict[int, Day] = field(default_factory=dict)
    last_ts: int = 0

    def add(self, sketch: Mapping[str, Any]) -> None:
        """Add a FeatureSketch of this site and reference."""
        hour_ts = sketch["hour_ts"]
        self.last_ts = max(self.last_ts, hour_ts)
        self.model = sketch["model_name"], sketch["model_version"]
        counts = np.array([sketch["columns"][name] for name in self.columns], np.int64)
        missing = np.array([sketch["missing"][name] for name in self.sensors], np.int64)
        day = self.days.setdefault(hour_ts // DAY_MS * DAY_MS, Day(np.zeros_like(counts)))
        hour = self.hours.setdefault(hour_ts, Hour(np.zeros_like(missing)))
        day.counts += counts
        day.key_hours += sketch["keys"]
        day.hours.add(hour_ts)
        day.readings += sketch["readings"]
        hour.missing += missing
        hour.readings += sketch["readings"]
        hour.schemas.update(sketch["schemas"])

    def complete_days(self, since_ts: int = 0) -> list[int]:
        """The usable days from a time on that are complete, ascending."""
        seen_ts = max(self.hours, default=0)
        return [ts for ts in sorted(self.days) if since_ts <= ts <= seen_ts - DAY_MS and self.days[ts].usable]

    def first_days(self, count: int, since_ts: int = 0) -> list[int]:
        """The first `count` usable and complete days from a time on, under any reference, ascending."""
        last_ts = max(self.hours, default=0) - DAY_MS
        by_day = groupby(sorted(ts for ts in self.hours if ts >= since_ts), lambda ts: ts // DAY_MS * DAY_MS)
        seen = ((day, [self.hours[ts].readings for ts in hours]) for day, hours in by_day if since_ts <= day <= last_ts)
        return list(islice((day for day, readings in seen if _usable(len(readings), sum(readings))), count))

    def complete_hours(self, since_ts: int = 0) -> list[int]:
        """The complete hours from a time on, ascending."""
        seen_ts = max(self.hours, default=0)
        return [ts for ts in sorted(self.hours) if since_ts <= ts <= seen_ts - HOUR_MS]


class Histories:
    """The histories of all sites."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, SiteHistory]] = {}
        self._hours: dict[tuple[str, tuple[str, ...]], dict[int, Hour]] = {}
        self._seen: set[tuple[str, int, str, int, int]] = set()

    def add(self, sketch: Mapping[str, Any]) -> None:
        """Add a FeatureSketch. A repeated one (without transactions, after a crash) changes nothing."""
        address = "hour_ts", "reference", "source_partition", "source_offset"
        identity = (sketch["site"], *(sketch[name] for name in address))
        if identity in self._seen:
            return
        self._seen.add(identity)
        sites = self._of.setdefault(sketch["site"], {})
        # The newest reference comes last: a site continues under the model that scores it now.
        sensors = tuple(sorted(sketch["missing"]))
        history = sites.pop(sketch["reference"], None) or SiteHistory(
            sketch["reference"],
            tuple(sorted(sketch["columns"])),
            sensors,
            (sketch["model_name"], sketch["model_version"]),
            self._hours.setdefault((sketch["site"], sensors), {}),
        )
        sites[sketch["reference"]] = history
        history.add(sketch)

    def current(self) -> dict[str, SiteHistory]:
        """Each site's history under the reference of its latest hours."""
        return {site: max(of.values(), key=lambda history: history.last_ts) for site, of in sorted(self._of.items())}
