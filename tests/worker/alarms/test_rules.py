"""Alarm rules: levels of conditions, what a rule makes of them, and rules in a pipeline beside a model."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.errors import UserError
from local.isolated_pipeline import isolated_pipeline
from tests.plain_pipelines import model, plain_pipeline
from training.monitoring.performance.rolling import alarms_from, models_alarms
from worker.admission.compatibility import alarm_policy, require_fit
from worker.alarms.alarms import MODEL, Alarms, rule_of, state_key
from worker.alarms.rules import HELD, NORMAL, REACHED, URGENT, Condition, Rule, rule_faults
from worker.alarms.state_machine import ACTIVE, IDLE, RTN, AlarmPolicy
from worker.config.pipeline import Pipeline, load_pipeline
from worker.in_memory import START_MS, InMemory
from worker.model.contract import Task
from worker.model.package_files import PackageError

nan = float("nan")


@pytest.mark.parametrize(
    ("limit", "values", "levels"),
    [
        ({"high": 100}, [99.9, 100, nan], [NORMAL, REACHED, HELD]),
        ({"high": 100, "deadband": 5}, [94.9, 95, 100], [NORMAL, HELD, REACHED]),
        ({"high": 80, "high_high": 100}, [79, 80, 100], [NORMAL, REACHED, URGENT]),
        ({"low": 2.5, "deadband": 0.25}, [2.5, 2.51, 2.75, 2.76], [REACHED, HELD, HELD, NORMAL]),
        ({"low": 0, "low_low": -10}, [1, 0, -10], [NORMAL, REACHED, URGENT]),
    ],
)
def test_the_level_of_a_condition(limit: dict[str, float], values: list[float], levels: list[int]) -> None:
    assert Condition.model_validate({"field": "x"} | limit).level(np.array(values)).tolist() == levels


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"high": 1600}, "never reached"),
        ({"high": 100, "high_high": 1600}, "never reached"),
        ({"high": -60}, "always reached"),
        ({"low": -500}, "never reached"),
        ({"low": 1500}, "always reached"),
        ({"high": 100, "deadband": 500}, "never counts as normal"),
        ({"low": 1000, "deadband": 500}, "never counts as normal"),
    ],
)
def test_a_limit_that_the_range_of_its_field_makes_useless_is_a_fault(limit: dict[str, float], why: str) -> None:
    rule = Rule.model_validate({"name": "hot", "priority": "HIGH", "field": "x"} | limit)
    ((place, text),) = rule_faults([rule], {"x": (-60.0, 1500.0)})
    assert place == (0,)
    assert text.startswith("x is from -60 to 1500, so that")
    assert why in text
    assert rule_faults([rule], {"x": (-np.inf, np.inf)}) == []


def test_any_takes_the_highest_level_and_all_the_lowest_until_all_are_reached() -> None:
    x, y = Condition(field="x", high=1), Condition(feature="y", high=1, high_high=2)
    seen = {"x": np.array([1, 0, nan, 1]), "y": np.array([0, 0, 1, 2])}

    def level(rule: Rule) -> list[int]:
        return list(rule.level(lambda c: seen[c.field or c.feature or ""]))

    assert level(Rule(name="any", priority="HIGH", any_of=(x, y))) == [REACHED, NORMAL, REACHED, URGENT]
    assert level(Rule(name="all", priority="HIGH", all_of=(x, y))) == [NORMAL, NORMAL, HELD, URGENT]


def play(rule: Rule, *values: float) -> list[tuple[int, str, str, str]]:
    """Transitions of a key with a reading each 10 s: number of the reading, kind, priority, rule."""
    alarms = Alarms(None, [rule])
    alarms.assign(0, {})
    made = []
    for n, value in enumerate(values):
        level = rule.level(lambda _, value=value: np.array([value]))  # type: ignore[misc] # mypy knows no defaults of lambdas
        staged = alarms.stage([0], [b"pump"], np.array([n * 10_000]), np.array([0.5]), None, [level])
        made += [(n, t.kind, t.state.priority, t.rule) for t in staged.transitions]
        alarms.merge(staged)
    return made


def test_delays_deadband_and_priorities_of_a_rule() -> None:
    rule = Rule.model_validate(
        {"name": "hot", "priority": "HIGH", "urgent_priority": "CRITICAL", "field": "x", "high": 80}
        | {"high_high": 100, "deadband": 5, "on_delay_ms": 20_000, "off_delay_ms": 10_000}
    )

    assert play(rule, 80, 80, 79, 80, 80, 80) == [(5, ACTIVE, "HIGH", "hot")]
    assert play(rule, 20, 120) == [(1, ACTIVE, "CRITICAL", "hot")]
    assert play(rule, 80, 80, 80, 100, 76, 74, 74) == [
        (2, ACTIVE, "HIGH", "hot"),
        (3, ACTIVE, "CRITICAL", "hot"),
        (6, RTN, "CRITICAL", "hot"),
    ]


def test_a_missing_value_neither_raises_an_alarm_nor_ends_it() -> None:
    rule = Rule.model_validate({"name": "hot", "priority": "HIGH", "field": "x", "high": 80})

    assert play(rule, nan, nan) == []
    assert play(rule, 90, nan, nan, nan, 20) == [(0, ACTIVE, "HIGH", "hot"), (4, RTN, "HIGH", "hot")]


@given(
    st.text(max_size=5), st.sampled_from([MODEL, "hot", "cold"]), st.text(max_size=5), st.sampled_from([MODEL, "hot"])
)
def test_no_two_alarms_share_a_state(key: str, rule: str, other: str, rule_of_other: str) -> None:
    mine, its = state_key(key.encode(), rule), state_key(other.encode(), rule_of_other)

    assert (mine == its) == ((key, rule) == (other, rule_of_other))
    assert rule_of(mine) == (key.encode(), rule)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), max_size=40), st.lists(st.integers(0, 40), max_size=5)
)
def test_any_batch_split_makes_the_same_transitions(readings: list[tuple[int, int]], cuts: list[int]) -> None:
    rule = Rule.model_validate(
        {"name": "hot", "priority": "HIGH", "urgent_priority": "CRITICAL", "field": "x", "high": 1, "high_high": 2}
        | {"deadband": 1, "on_delay_ms": 15_000, "off_delay_ms": 15_000}
    )

    def transitions(bounds: list[int]) -> list[Any]:
        alarms, made = Alarms(None, [rule]), []
        alarms.assign(0, {})
        for a, b in itertools.pairwise(bounds):
            part = readings[a:b]
            keys, level = [b"%d" % key for key, _ in part], np.array([level for _, level in part], np.int64)
            ts = np.arange(a, b) * 5_000
            staged = alarms.stage([0] * len(part), keys, ts, np.zeros(len(part)), None, [level])
            made += [(a + t.row, t.kind, t.state, t.rule) for t in staged.transitions]
            alarms.merge(staged)
        return made

    assert transitions([0, len(readings)]) == transitions(
        sorted({0, len(readings), *(c % (len(readings) + 1) for c in cuts)})
    )


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"field": "x"}, "needs one limit"),
        ({"high": 1}, "needs one value"),
        ({"field": "x", "feature": "y", "high": 1}, "needs one value"),
        ({"field": "x", "high": 1, "low": 0}, "needs one limit"),
        ({"field": "x", "high": 2, "high_high": 1}, "high_high goes with high"),
        ({"field": "x", "high": "80"}, "valid number"),
        ({}, "needs conditions"),
        ({"field": "x", "high": 1, "urgent_priority": "CRITICAL"}, "no condition has high_high"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Rule.model_validate({"name": "hot", "priority": "HIGH"} | rule)


KEYED, OUTPUTS = "  key: pump\n  time: at", "  alarms: {topic: pump.alarms}\n  alarm_state: {topic: pump.alarm-state}"


def with_rules(folder: Path, rules: str, task: str = "regression", more: str = "") -> Pipeline:
    return plain_pipeline(folder, task, identity=KEYED, outputs=OUTPUTS, more=f"alarm:\n{more}  rules:\n{rules}")


def readings(*values: dict[str, float]) -> list[dict[str, Any]]:
    return [{"pump": "p1", "at": START_MS + n * 10_000, "pressure": 1.0} | value for n, value in enumerate(values)]


def test_a_regression_pipeline_raises_alarms_by_rules_and_each_names_its_rule(tmp_path: Path) -> None:
    pipeline = with_rules(
        tmp_path,
        "    - {name: flooded, priority: HIGH, field: flow, high: 50}\n"
        "    - {name: strained, priority: LOW, all_of: [{prediction: true, high: 10}, {feature: pressure, low: 5}]}",
    )

    found = InMemory(pipeline, model(Task.REGRESSION, "flow", "pressure")).process(
        readings({"flow": 2}, {"flow": 60}, {"flow": 20, "pressure": 9}, {"flow": 2})
    )

    assert [(a["rule"], a["state"], a["priority"], a["source_offset"]) for a in found.alarms] == [
        ("flooded", ACTIVE, "HIGH", 1),
        ("strained", ACTIVE, "LOW", 1),
        ("flooded", RTN, "HIGH", 2),
        ("strained", RTN, "LOW", 2),
    ]
    assert len({a["alarm_id"] for a in found.alarms}) == 2
    assert {alarm.rule for alarm in alarms_from(found.alarms, pipeline, {})} == {"flooded", "strained"}
    assert models_alarms(found.alarms, pipeline, {}) == []  # they say nothing of the model's performance


def test_a_shipped_pipeline_for_regression_gets_a_limit_by_a_few_lines_in_its_file(tmp_path: Path) -> None:
    file = isolated_pipeline("absences", tmp_path, of="absenteeism")
    content = yaml.safe_load(file.read_text())
    content["outputs"] |= {"alarms": {"topic": "a.alarms"}, "alarm_state": {"topic": "a.alarm-state"}}
    rule = {
        "name": "long",
        "priority": "LOW",
        "any_of": [{"prediction": True, "high": 40}, {"field": "pets", "high": 3}],
    }
    file.write_text(yaml.safe_dump(content | {"alarm": {"rules": [rule]}}))
    pipeline = load_pipeline(str(file))
    inputs = [name for name in pipeline.input.sensors() if name in {"age_years", "pets"}]

    absences = [
        {"employee_id": "e", "age_years": age, "pets": pets} for age, pets in ((30, 1), (39, 1), (20, 3), (20, 0))
    ]
    found = InMemory(pipeline, model(Task.REGRESSION, *inputs)).process(absences)

    assert [(a["employee_id"], a["rule"], a["state"], a["source_offset"]) for a in found.alarms] == [
        ("e", "long", ACTIVE, 1),
        ("e", "long", RTN, 3),
    ]


POLICY = AlarmPolicy(setpoint=0.9, deadband=0.1, on_delay_ms=0, off_delay_ms=0, priorities={"HIGH": 0.9})


def test_rules_stand_beside_the_models_own_alarm_or_instead_of_it(tmp_path: Path) -> None:
    hot, binary = (
        "    - {name: hot, priority: LOW, field: pressure, high: 3}",
        model(Task.BINARY, "pressure", policy=POLICY),
    )
    beside = with_rules(tmp_path / "beside", hot, "binary")
    instead = with_rules(tmp_path / "instead", hot, "binary", "  model: false\n")
    sent = readings({}, {"pressure": 4}, {"pressure": 4})

    assert [a["rule"] for a in InMemory(beside, binary).process(sent).alarms] == [None, "hot"]
    assert [a["rule"] for a in InMemory(instead, binary).process(sent).alarms] == ["hot"]
    assert alarm_policy(binary, instead) is None


def test_a_rule_about_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pipeline.yaml.*no number 'heat'"):
        with_rules(tmp_path, "    - {name: hot, priority: LOW, field: heat, high: 3}")
    with pytest.raises(UserError, match="the name of an earlier rule"):
        with_rules(tmp_path, "    - {name: hot, priority: LOW, field: flow, high: 3}\n" * 2)
    pipeline = with_rules(tmp_path, "    - {name: hot, priority: LOW, feature: heat, high: 3}")
    with pytest.raises(PackageError, match="has no feature heat"):
        require_fit(model(Task.REGRESSION, "pressure"), pipeline)


def test_alarms_of_a_rule_that_was_taken_out_end_with_the_next_reading_of_their_key() -> None:
    rule, other = (
        Rule.model_validate({"name": name, "priority": "HIGH", "field": "x", "high": 80}) for name in ("hot", "cold")
    )
    alarms = Alarms(None, [rule])
    alarms.assign(0, {})
    readings = [0, 0], [b"p", b"q"], np.array([5, 5]), np.array([0.5, 0.5]), None
    alarms.merge(alarms.stage(*readings, [np.array([REACHED, REACHED])]))
    restored = {state_key(key, "hot"): alarms.of(0, key, "hot") for key in (b"p", b"q")}

    again, without = Alarms(None, [rule]), Alarms(None, [other])
    for each in (again, without):
        each.assign(0, restored)
    staged = without.stage([0], [b"p"], np.array([6]), np.array([0.5]), None, [np.array([NORMAL])])
    without.merge(staged)

    assert again.active() == {"HIGH": 2}
    assert [(t.kind, t.rule, t.state.priority) for t in staged.transitions] == [(RTN, "hot", "HIGH")]
    assert staged.changed == {(0, state_key(b"p", "hot")): (0, IDLE)}  # a tombstone
    assert without.active() == {"HIGH": 1}  # that of the key that has sent nothing since
