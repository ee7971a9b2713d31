"""What holds of rules whatever is measured: a value that is missing raises nothing and ends nothing."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.plain_pipelines import model, plain_pipeline
from worker.alarms.alarms import Alarms
from worker.alarms.rules import Rule
from worker.alarms.state_machine import ACTIVE, RTN
from worker.in_memory import START_MS, InMemory
from worker.model.contract import Task

LIMITS = st.fixed_dictionaries(
    {"high": st.sampled_from([1.0, 2.0]), "deadband": st.sampled_from([0.0, 1.0])},
    optional={"high_high": st.just(3.0)},
)
CONDITIONS = st.tuples(LIMITS, LIMITS).map(lambda both: [{"field": "x"} | both[0], {"field": "y"} | both[1]])
DELAYS = st.sampled_from([0, 10_000, 30_000])
RULES = st.builds(
    lambda how, conditions, on, off: Rule.model_validate(
        {"name": "r", "priority": "HIGH", how: conditions, "on_delay_ms": on, "off_delay_ms": off}
    ),
    st.sampled_from(["any_of", "all_of"]),
    CONDITIONS,
    DELAYS,
    DELAYS,
)
VALUE = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]), st.just(float("nan")))
SERIES = st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=30)


class Run(NamedTuple):
    """What a rule did at each reading: the transition, or None; and whether the alarm is active after it."""

    kinds: list[str | None]
    active: list[bool]


def run(rule: Rule, series: list[tuple[float, float]]) -> Run:
    alarms, found = Alarms(None, [rule]), Run([], [])
    alarms.assign(0, {})
    values = np.array(series)
    level = rule.level(lambda condition: values[:, "xy".index(condition.field or "")])
    for n in range(len(series)):
        staged = alarms.stage([0], [b"k"], np.array([n * 10_000]), np.zeros(1), None, [level[n : n + 1]])
        alarms.merge(staged)
        found.kinds.append(staged.transitions[0].kind if staged.transitions else None)
        found.active.append(alarms.of(0, b"k", "r").active)
    return found


@given(RULES, SERIES)
def test_a_reading_without_values_makes_no_transition(rule: Rule, series: list[tuple[float, float]]) -> None:
    kinds = run(rule, series).kinds

    assert not [n for n, values in enumerate(series) if np.isnan(values).all() and kinds[n] is not None]


@given(RULES, SERIES, st.sampled_from([0, 1]), st.integers(0, 30))
def test_a_sensor_that_is_lost_raises_no_alarm(
    rule: Rule, series: list[tuple[float, float]], sensor: int, since: int
) -> None:
    lost = [tuple(nan if n >= since and at == sensor else v for at, v in enumerate(r)) for n, r in enumerate(series)]
    there, without = run(rule, series), run(rule, lost)  # type: ignore[arg-type]  # pairs stay pairs

    raised = [n for n, kind in enumerate(without.kinds) if kind == ACTIVE]
    assert all(there.active[n] for n in raised)


@given(RULES, SERIES, st.sampled_from([0, 1]), st.integers(0, 30))
def test_a_sensor_that_is_lost_ends_no_alarm_that_it_holds_alone(
    rule: Rule, series: list[tuple[float, float]], sensor: int, since: int
) -> None:
    lost = [tuple(nan if n >= since or at != sensor else v for at, v in enumerate(r)) for n, r in enumerate(series)]

    kinds = run(rule, lost).kinds  # type: ignore[arg-type]  # pairs stay pairs

    assert RTN not in kinds[since:]


nan = float("nan")


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.BINARY])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2"]), st.sampled_from([0.0, 2.0, 5.0]), st.sampled_from([None, 0.0, 60.0, 99.0])
        ),
        max_size=25,
    ),
    batch_size=st.integers(1, 8),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_how_readings_are_cut_into_batches_does_not_matter(
    tmp_path: Path, task: Task, rows: list[tuple[str, float, float | None]], batch_size: int
) -> None:
    rules = """alarm:
  rules:
    - {name: flooded, priority: HIGH, urgent_priority: CRITICAL, field: flow, high: 50, high_high: 90, deadband: 20}
    - name: strained
      priority: LOW
      all_of: [{prediction: true, high: 0.9, deadband: 0.2}, {feature: pressure, high: 2, high_high: 5}]
      on_delay_ms: 20000
      off_delay_ms: 10000
"""
    identity, outputs = "  key: pump\n  time: at", "  alarms: {topic: alarms}\n  alarm_state: {topic: states}"
    pipeline = plain_pipeline(tmp_path, task, identity=identity, outputs=outputs, more=rules)
    sent: list[dict[str, Any]] = [
        {"pump": pump, "at": START_MS + n * 10_000, "pressure": pressure, "flow": flow}
        for n, (pump, pressure, flow) in enumerate(rows)
    ]

    def alarms(size: int) -> list[tuple[Any, ...]]:
        made = InMemory(pipeline, model(task, "pressure", "flow"), batch_size=size).process(sent).alarms
        return [tuple(a[name] for name in ("alarm_id", "state", "priority", "rule", "source_offset")) for a in made]

    assert alarms(batch_size) == alarms(1000)
