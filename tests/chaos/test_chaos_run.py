"""A short chaos run must find nothing, and the comparison behind it must be able to find something."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.plan import KINDS_S, plan
from tests.comparison import Address, Expected, Transition, compare
from tests.repository import ROOT
from worker.alarms.state_machine import AlarmState


@pytest.mark.kafka
@pytest.mark.registry
@pytest.mark.timeout(300)
def test_a_short_run_with_faults_gives_what_an_uninterrupted_one_gives(model_package: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--seconds",
        "40",
        "--seed",
        "6",
        "--model",
        str(model_package),
        "--json",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert result["faults"] == sum(result["faults_by_kind"].values()) >= 3
    for figure in ("missing", "duplicated", "different", "out_of_order", "alarms_missing", "alarms_extra"):
        assert result[figure] == 0
    assert result["readings"] == result["scored"] + result["dead_lettered"] + result["deduplicated"]
    assert min(result["readings"], result["dead_lettered"], result["deduplicated"], result["alarms"]) > 0


@dataclass
class Output:
    """What `compare` takes, to be doctored."""

    predictions: list[dict[str, Any]]
    dead_letters: list[tuple[Address, str]]
    transitions: list[Transition]
    alarm_states: dict[tuple[int, bytes], AlarmState]


def prediction(offset: int, ts: int, probability: float, in_window: int) -> dict[str, Any]:
    return {
        "module_id": "m",
        "ts": ts,
        "hazard_probability": probability,
        "readings_in_window": in_window,
        "source_partition": 0,
        "source_offset": offset,
    }


EXPECTED = Expected(
    probability={(0, 0): 0.25, (0, 1): 0.5},
    in_window={(0, 0): 1, (0, 1): 2},
    rejected={(0, 2): "malformed"},
    transitions=[("m", "", "ACTIVE", 20), ("m", "", "RTN", 30)],
    alarm_states={(0, b"m"): AlarmState(active=True)},
)
SOUND = Output(
    [prediction(0, 10, 0.25, 1), prediction(1, 20, 0.5, 2)],
    [((0, 2), "malformed")],
    [("m", "", "ACTIVE", 20), ("m", "", "RTN", 30)],
    {(0, b"m"): AlarmState(active=True)},
)


def faults(output: Output) -> dict[str, int]:
    return {fault: count for fault, count in compare(EXPECTED, **vars(output)).faults.items() if count}


def test_nothing_is_found_in_the_expected_output() -> None:
    assert faults(SOUND) == {}
    found = compare(EXPECTED, **vars(SOUND))
    assert (found.scored, found.dead_lettered, found.examples) == (2, 1, [])


@pytest.mark.parametrize(
    ("doctor", "found"),
    [
        (lambda o: o.predictions.pop(), {"missing": 1}),
        (lambda o: o.dead_letters.clear(), {"missing": 1}),
        (lambda o: o.predictions.append(o.predictions[1]), {"duplicated": 1}),
        (lambda o: o.dead_letters.append(o.dead_letters[0]), {"duplicated": 1}),
        (lambda o: o.dead_letters.append(((0, 1), "late")), {"duplicated": 1}),
        (lambda o: o.predictions[0].update(hazard_probability=math.nextafter(0.25, 1)), {"different": 1}),
        (lambda o: o.predictions[1].update(readings_in_window=1), {"different": 1}),
        (lambda o: o.predictions.append(prediction(3, 40, 0.5, 3)), {"different": 1}),
        (lambda o: o.dead_letters.__setitem__(0, ((0, 2), "late")), {"different": 1}),
        (lambda o: o.predictions.reverse(), {"out_of_order": 1}),
        (lambda o: o.transitions.pop(), {"alarms_missing": 1}),
        (lambda o: o.transitions.append(o.transitions[0]), {"alarms_extra": 1}),
        (lambda o: o.alarm_states.clear(), {"alarm_states_different": 1}),
    ],
)
def test_what_was_done_to_the_output_is_found_and_reported(
    doctor: Callable[[Output], Any], found: dict[str, int]
) -> None:
    doctored = deepcopy(SOUND)
    doctor(doctored)
    assert faults(doctored) == found
    assert len(compare(EXPECTED, **vars(doctored)).examples) == 1


def test_a_plan_holds_each_kind_once_in_nine_is_over_in_time_and_is_the_same_for_a_seed() -> None:
    faults_of_an_hour = list(plan(3600, 7))
    assert faults_of_an_hour == list(plan(3600, 7)) != list(plan(3600, 8))
    assert len(faults_of_an_hour) > 700
    for at in range(0, 693, 9):
        assert {fault.kind for fault in faults_of_an_hour[at : at + 9]} == set(KINDS_S)
    assert max(fault.at_s + fault.lasts_s for fault in faults_of_an_hour) <= 3600
