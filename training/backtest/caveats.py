"""What makes the figures of a backtest less certain than they look."""

from collections.abc import Mapping

import numpy as np

from training.backtest.run import Backtest
from training.evaluation.alarm_outcomes import poisson_interval, share_interval

_FEW_DAYS = 30
_OUTSIDE = 0.05


def typical_s(ms: Mapping[int, float]) -> float | None:
    """The median of times in ms, in seconds; None where none is known."""
    known = [value for value in ms.values() if not np.isnan(value)]
    return round(float(np.median(known)) / 1000, 3) if known else None


def lacking(result: Backtest) -> list[str]:
    """Sensors of the model that the recording does not have."""
    return [s for s in result.package.spec.sensors if s not in result.recorded.sensors]


def warnings(result: Backtest) -> list[str]:
    """Reasons why the figures are less certain than they look."""
    found = [_period_note(result)] if _period_note(result) else []
    if missing := lacking(result):
        found.append(f"the recording has no {', '.join(missing)}: the model gets them as missing")
    if result.normal_days < _FEW_DAYS:
        high = poisson_interval(result.judged.false_alarms, result.normal_days)[1]
        bound = f"up to {high:.2g} per key-day are possible" if result.normal_days else "no rate can be given"
        found.append(
            f"{result.normal_days:.3g} key-days of normal operation say little about the rate of false alarms: {bound}"
        )
    if 0 < len(result.events) < 20:
        low = share_interval(result.judged.detected, len(result.events))[0]
        found.append(f"{len(result.events)} events say little about the detected share: it is {low:.0%} or more")
    if result.short:
        found.append(f"{result.short} keys have fewer than {result.package.spec.max_readings} readings, a full window")
    found += _not_assessable_note(result)
    found += _outside_note(result)
    if not result.events:
        found.append("no events were given (--label-column, --events), so every alarm counts as false")
    skipped = sum(result.recorded.loaded.left_out.values()) + sum(result.refused.values())
    if skipped:
        reasons = ", ".join(f"{why} {n:,}" for why, n in (result.recorded.loaded.left_out + result.refused).items())
        found.append(f"{skipped:,} rows were not scored: {reasons}" + _examples(result))
    if result.recorded.loaded.not_numbers:
        which = ", ".join(f"{column} {n:,}" for column, n in result.recorded.loaded.not_numbers.items())
        found.append(f"values that are not numbers count as missing: {which}")
    if result.masked:
        which = ", ".join(f"{sensor} {n:,}" for sensor, n in result.masked.items())
        found.append(f"values out of range were masked, as by a worker: {which}")
    return found


def _examples(result: Backtest) -> str:
    examples = result.understood["bad_rows"]
    return f" ({'; '.join(examples)})" if examples else ""


def _period_note(result: Backtest) -> str:
    period, thinned = (
        typical_s(result.recorded.periods_ms),
        typical_s({m: ms for m, ms in result.every_ms.items() if ms}),
    )
    trained = result.package.spec.period_ms
    if period is None:
        return ""
    if thinned is not None:
        return (
            f"a reading every {period:g} s was thinned to one every {thinned:g} s, because windows count readings "
            "(--every 0 keeps all)"
        )
    if trained is None:
        return f"the model declares no training period; readings, one every {period:g} s, are used as they are"
    if period > trained / 1000 * 1.5:
        span_s = result.package.spec.max_span_ms / 1000
        return (
            f"a reading every {period:g} s is less than the model's {trained / 1000:g} s: a window "
            f"of {span_s:g} s holds {max(int(span_s / period), 1)} instead of {result.package.spec.max_readings}"
        )
    return ""


def _not_assessable_note(result: Backtest) -> list[str]:
    count = result.not_assessable.total()
    if not count:
        return []
    reasons = "; ".join(f"{why}: {n:,}" for why, n in result.not_assessable.most_common())
    text = f"the model cannot judge {count:,} of {result.scored:,} readings, which raise no alarm by it ({reasons})"
    return [f"{text}; keys with a maintenance alarm by this: {len({alarm.key for alarm in result.maintenance})}"]


def _outside_note(result: Backtest) -> list[str]:
    sensors = {s: result.outside[s] for s in result.recorded.sensors if result.outside[s] > _OUTSIDE}
    if not sensors:
        return []
    which = ", ".join(f"{sensor} in {share:.0%}" for sensor, share in sensors.items())
    advice = ""
    if result.package.spec.per.keys() & sensors.keys():
        advice = "; is --topology right?"
    return [f"outside the range of normal operation in training: {which} of the readings{advice}"]
