"""Finds sites that have drifted, day by day: from their own baseline, and from the training data of the model.

The result is a function of the sketches alone, so every run at any time comes to the same conclusion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from common.arrays import Bool, Float, Int
from common.times import DAY_MS, HOUR_MS
from training.monitoring.drift.distance import ks_distance, ks_p_value, psi
from training.monitoring.drift.history import SiteHistory
from worker.model.reference import OUTPUT, TAIL, Reference

Kind = Literal["drift", "untrained", "missing", "schema"]
BASELINE_DAYS = 7
LEAST_DISTANCE = 0.15
LEAST_OUTPUT_DISTANCE = 0.25
"""For the probability: in normal operation it is far below the setpoint, where harmless influences move it most."""
OVER_BASELINE = 1.5
"""A day has drifted if it is this many times further from the baseline than any day of the baseline from the rest."""
COMBINED_LIMIT = 1.0
"""For a column that is part of a combination: it changes with the seasons, so only a disjoint range is drift."""
UNTRAINED_SHARE = 0.5
"""A single site differs from all training sites together. It counts as untrained once half of its readings are beyond
the tails of the training data (`worker.model.reference.TAIL`)."""
LEAST_PSI = 0.1
FALSE_DISCOVERIES = 0.01
MISSING_MORE = 0.10
_MISSING_PERCENTILE = 95
_READINGS_AN_HOUR = 20
OF_LAST, RAISED_BY, KEPT_BY = 4, 3, 2
"""A state becomes active after three of the last four windows, and ends once fewer than two of them are over."""


@dataclass(frozen=True)
class Watched:
    """Values of one site that are compared with limits, window by window.

    Attributes:
        kind: see the schema DriftEvent.
        site: name of the site.
        subjects: columns, sensors or schemas [s].
        ts: end of each window, ms [w].
        value: the values [w, s].
        limit: limit of each subject [s].
        over: whether the value exceeds the limit [w, s].
        psi, q: population stability index and corrected p-value, for distributions [w, s].
    """

    kind: Kind
    site: str
    subjects: tuple[str, ...]
    ts: Int
    value: Float
    limit: Float
    over: Bool
    psi: Float | None = None
    q: Float | None = None

    @property
    def active(self) -> Bool:
        """Whether the state is active after each window [w, s]."""
        return hysteresis(self.over)


@dataclass(frozen=True)
class SiteState:
    """What is known of a site.

    Attributes:
        since_ts: start of the history that counts, ms.
        baseline_days: number of days in its baseline so far.
        until_ts: end of its data, ms.
    """

    history: SiteHistory
    since_ts: int
    baseline_days: int
    until_ts: int

    @property
    def learning(self) -> bool:
        """Whether the baseline is still incomplete."""
        return self.baseline_days < BASELINE_DAYS


def check(
    histories: Mapping[str, SiteHistory], reference: Reference | None, since: Mapping[str, int]
) -> tuple[list[Watched], dict[str, SiteState]]:
    """Check all sites.

    Args:
        histories: by site.
        reference: of the model in use. Sites whose sketches belong to another reference are not compared with it.
        since: start of a site's baseline, ms, if an operator has set one.
    """
    compared, rest, states = [], [], {}
    for site, history in histories.items():
        days = history.complete_days(since.get(site, 0))
        baseline, later = days[:BASELINE_DAYS], days[BASELINE_DAYS:]
        begin_ts = max(since.get(site, 0), min(history.hours))
        states[site] = SiteState(history, begin_ts, len(baseline), max(history.hours) + HOUR_MS)
        if later:
            compared.append(_against_baseline(site, history, reference, baseline, later))
        if reference is not None and reference.digest == history.reference and days:
            compared.append(_against_training(site, history, reference, days))
        rest += _hourly(site, history, history.first_days(BASELINE_DAYS, since.get(site, 0)))
    return [*corrected(compared), *rest], states


def hysteresis(over: Bool) -> Bool:
    """Turn single windows [w, s] into states that do not flap [w, s]."""
    active = np.zeros_like(over)
    counts = np.cumsum(np.vstack((np.zeros((1, over.shape[1]), np.int64), over)), axis=0)
    before = np.zeros(over.shape[1], np.bool_)
    for w in range(len(over)):
        held = counts[w + 1] - counts[max(0, w + 1 - OF_LAST)]
        before = np.where(before, held >= KEPT_BY, held >= RAISED_BY)
        active[w] = before
    return active


@dataclass(frozen=True)
class _Compared:
    kind: Kind
    site: str
    subjects: tuple[str, ...]
    ts: Int
    value: Float
    limit: Float
    psi: Float
    p: Float


def corrected(compared: Sequence[_Compared]) -> list[Watched]:
    """Correct each day's p-values for the number of tests on that day, over all sites (Benjamini and Hochberg 1995)."""
    q = [np.ones_like(one.p) for one in compared]
    for ts in np.unique(np.concatenate([np.empty(0, np.int64), *(one.ts for one in compared)])):
        places = [(i, w) for i, one in enumerate(compared) for w in np.flatnonzero(one.ts == ts).tolist()]
        together = stats.false_discovery_control(np.concatenate([compared[i].p[w] for i, w in places]))
        ends = np.cumsum([len(compared[i].p[w]) for i, w in places])[:-1]
        for (i, w), part in zip(places, np.split(together, ends), strict=True):
            q[i][w] = part
    return [
        Watched(
            one.kind,
            one.site,
            one.subjects,
            one.ts,
            one.value,
            one.limit,
            (one.value >= one.limit) & (one.psi >= LEAST_PSI) & (sure <= FALSE_DISCOVERIES),
            one.psi,
            sure,
        )
        for one, sure in zip(compared, q, strict=True)
    ]


def _against_baseline(
    site: str, history: SiteHistory, reference: Reference | None, baseline: Sequence[int], later: Sequence[int]
) -> _Compared:
    normal = np.stack([history.days[ts].counts for ts in baseline])
    together = normal.sum(axis=0)
    # The baseline itself shows how much the days of a site differ.
    apart = ks_distance(normal, together - normal).max(axis=0)
    combined = np.array([reference is not None and reference.combined(name) for name in history.columns])
    least = np.where([name == OUTPUT for name in history.columns], LEAST_OUTPUT_DISTANCE, LEAST_DISTANCE)
    limit = np.minimum(np.maximum(least, OVER_BASELINE * apart), 1.0)
    limit = np.where(combined, COMBINED_LIMIT, limit)
    size = sum(history.days[ts].key_hours for ts in baseline)
    return _compare("drift", site, history, together, size, limit, later)


def _against_training(site: str, history: SiteHistory, reference: Reference, days: Sequence[int]) -> _Compared:
    order = [reference.names.index(name) for name in history.columns]
    trained = reference.trained()[order]
    limit = np.full(len(order), UNTRAINED_SHARE)
    compared = _compare("untrained", site, history, trained, int(trained[0].sum()), limit, days)
    known = np.stack([history.days[ts].counts for ts in days])[..., :-1]
    outside = np.where(_beyond(trained[:, :-1]), known, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return replace(compared, value=outside)


def _beyond(trained: Int) -> Bool:
    """Mask of the bins in the tails, which hold at most a share `TAIL` of the training readings, [c, bins]."""
    up_to = np.cumsum(trained, axis=-1) / np.maximum(trained.sum(axis=-1, keepdims=True), 1)
    below = np.concatenate((np.zeros((len(trained), 1)), up_to[:, :-1]), axis=-1)
    little = TAIL * 1.5  # because of ties, a bin in the tail may hold a little more
    return np.asarray((up_to <= little) | (below >= 1 - little))


def _compare(
    kind: Kind, site: str, history: SiteHistory, with_: Int, size: int, limit: Float, days: Sequence[int]
) -> _Compared:
    counts = np.stack([history.days[ts].counts for ts in days])
    sizes = np.array([[history.days[ts].key_hours] for ts in days], np.float64)
    distance = ks_distance(counts, with_)
    p = ks_p_value(distance, sizes, np.full_like(sizes, size))
    ends = np.array(days, np.int64) + DAY_MS
    return _Compared(kind, site, history.columns, ends, distance, limit, psi(counts, with_), p)


def _hourly(site: str, history: SiteHistory, baseline: Sequence[int]) -> list[Watched]:
    """Missing sensors and new schemas, for each hour after the baseline, whatever model scored."""
    if len(baseline) < BASELINE_DAYS:
        return []
    enough = [ts for ts in history.complete_hours(baseline[0]) if history.hours[ts].readings >= _READINGS_AN_HOUR]
    normal = [history.hours[ts] for ts in enough if ts // DAY_MS * DAY_MS in baseline]
    later = [ts for ts in enough if ts >= baseline[-1] + DAY_MS]
    if not later:
        return []
    ends = np.array(later, np.int64) + HOUR_MS
    readings = np.array([history.hours[ts].readings for ts in later])[:, None]
    share = np.stack([history.hours[ts].missing for ts in later]) / readings
    usual = np.stack([hour.missing / hour.readings for hour in normal])
    limit = np.percentile(usual, _MISSING_PERCENTILE, axis=0) + MISSING_MORE
    watched = [Watched("missing", site, history.sensors, ends, share, limit, share >= limit)]
    known = {name for hour in normal for name in hour.schemas}
    new = tuple(sorted({name for ts in later for name in history.hours[ts].schemas} - known))
    if new:
        seen = np.array([[history.hours[ts].schemas[name] for name in new] for ts in later]) / readings
        watched.append(Watched("schema", site, new, ends, seen, np.zeros(len(new)), seen > 0))
    return watched
