"""Figures of recorded destructive tests: the pipeline as it is shipped, and fixed limits beside it."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from common.arrays import Bool, Float
from pipelines.battery_hazard.training.datasets.dataset import Progress
from pipelines.battery_hazard.training.study.fixed_limits import best_found, first, first_hits
from pipelines.battery_hazard.training.study.recorded_tests import (
    HAZARD_PRIORITIES,
    SENSOR_SETS,
    Course,
    DestructiveTest,
    RecordedTests,
)
from training.evaluation.alarm_outcomes import share_interval
from worker.model.package import ModelPackage

WITHIN_S = {1: (3, 10, 30), 10: (10, 30)}
"""Sampling periods, s, and for each how long after the onset an alarm is in time, s."""
WARM_C = 60.0
"""No alarm is right for a cell that stays below."""
SHOWN_LIMITS_C = (100.0, 110.0)
"""Limits on the hottest temperature, °C, that stand beside the pipeline."""


def recorded_findings(recorded: RecordedTests, package: ModelPackage, progress: Progress) -> dict[str, Any]:
    """All figures, as JSON values."""
    tests = list(recorded.tests.values())
    onset_s = np.array([test.onset_s for test in tests])
    samplings: list[dict[str, Any]] = []
    for (name, lacking), (period_s, within_s) in product(SENSOR_SETS.items(), WITHIN_S.items()):
        progress("scoring tests", len(samplings), len(SENSOR_SETS) * len(WITHIN_S))
        courses = recorded.courses(package, period_s, lacking)
        samplings.append({"period_s": period_s, "sensors": name, **_sampling(tests, courses, within_s)})
    return {
        "tests": len(tests),
        "runaways": int((~np.isnan(onset_s)).sum()),
        "others": int(np.isnan(onset_s).sum()),
        "others_below_60_c": sum(_stayed_cold(test) for test in tests),
        "samplings": samplings,
    }


def _stayed_cold(test: DestructiveTest) -> bool:
    return bool(np.isnan(test.onset_s) and test.peak_c < WARM_C)


def _sampling(
    tests: Sequence[DestructiveTest], by_name: Mapping[str, Course], within_s: Sequence[int]
) -> dict[str, Any]:
    courses = [by_name[test.name] for test in tests]
    operating = [_operating("pipeline as shipped", tests, *_alarms(courses), within_s)]
    for limit_c in SHOWN_LIMITS_C:
        hits = np.array([first(course.t_s, course.hottest_c >= limit_c) for course in courses])
        operating.append(_operating(f"hottest ≥ {limit_c:g} °C", tests, hits, hits, within_s))
    return {"operating_points": operating, "sweep": _sweep(tests, courses, within_s)}


def _alarms(courses: Sequence[Course]) -> tuple[Float, Float]:
    critical = np.array([course.alarmed_s("CRITICAL") for course in courses])
    return critical, np.array([course.alarmed_s(*HAZARD_PRIORITIES) for course in courses])


def _operating(
    name: str, tests: Sequence[DestructiveTest], critical_s: Float, any_s: Float, within_s: Sequence[int]
) -> dict[str, Any]:
    """How often there was an alarm, by the time of the first one in each test (infinite: none)."""
    onset_s = np.array([test.onset_s for test in tests])
    ran_away, cold = ~np.isnan(onset_s), np.array([_stayed_cold(test) for test in tests])
    delay_s = {"critical": (critical_s - onset_s)[ran_away], "any": (any_s - onset_s)[ran_away]}
    return {
        "name": name,
        "false_critical": _count(np.isfinite(critical_s[~ran_away])),
        "false_any": _count(np.isfinite(any_s[~ran_away])),
        "any_below_60_c": _count(np.isfinite(any_s[cold])),
        **{
            f"{which}_within_{limit}_s": _count(delay <= limit)
            for which, delay in delay_s.items()
            for limit in within_s
        },
    }


def _count(those: Bool) -> dict[str, Any]:
    count, of = int(those.sum()), len(those)
    return {"count": count, "of": of, "interval": list(share_interval(count, of))}


def _sweep(
    tests: Sequence[DestructiveTest], courses: Sequence[Course], within_s: Sequence[int]
) -> list[dict[str, Any]]:
    """For each number of false alarms at most: how many runaways the probability finds, and the best fixed limit."""
    onset_s = np.array([test.onset_s for test in tests])
    hits_s = np.array([first_hits(course.t_s, course.hottest_c) for course in courses])
    others = [course for course, onset in zip(courses, onset_s, strict=True) if np.isnan(onset)]
    highest = np.sort([course.peak_by(np.inf) for course in others])[::-1]
    false_alarms = range(len(others))
    rows: list[dict[str, Any]] = [{"false_alarms": most} for most in false_alarms]
    for limit in within_s:
        peaks = np.array(
            [c.peak_by(onset + limit) for c, onset in zip(courses, onset_s, strict=True) if not np.isnan(onset)]
        )
        best = best_found(hits_s, onset_s, limit, false_alarms)
        for row, reached, of_limits in zip(rows, highest.tolist(), best, strict=True):
            row[f"model_within_{limit}_s"] = int((peaks > reached).sum())
            row[f"limits_within_{limit}_s"] = of_limits
    return rows
