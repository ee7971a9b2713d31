"""Backtests on files: what is read, how it is judged, and that the scores are a worker's."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from common.errors import UserError
from hazardstream.cli import app
from producers.kafka_publisher import encoder
from producers.recordings.files import files_in
from producers.recordings.mapping import parse_mapping
from producers.recordings.recording import open_recording
from producers.recordings.series import RELATIVE_START_MS
from schemas.registry import writer_schema_lookup
from tests.backtests import recording, run, saved
from tests.flagship import KNOWN_SCHEMAS, PIPELINE
from tests.recordings import read_recording
from training.backtest.report import as_json
from training.backtest.score import RecordingScorer
from training.evaluation.alarm_outcomes import Alarm, apply, match_alarms
from training.evaluation.labelled_event import LabelledEvent
from training.evaluation.policy_sweep import Trace, alarms_under, policies, telling
from worker.alarms.alarms import MODEL, Alarms
from worker.alarms.state_machine import AlarmPolicy
from worker.consume.message_columns import batch_of
from worker.model.package import ModelPackage
from worker.score.scorer import scorer_of
from worker.windows.partition import Partition

CELL = parse_mapping(
    "ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C", "test,run", None, "cells_in_series=1,capacity_ah=2.6"
)
CELL_OPTIONS = [
    "--columns", "ts=t_s,voltage_v=V_V,current_a=-I_A,avg_surface_temp_c=T_C",
    "--key-columns", "test,run", "--topology", "cells_in_series=1,capacity_ah=2.6",
]  # fmt: skip


@pytest.mark.slow  # simulates a recording
def test_the_scores_are_the_workers_bit_for_bit(recordings: Path, package: ModelPackage) -> None:
    """Against messages as `replay` would publish them, through decode and all, in one partition."""
    replayed = read_recording(recordings / "R1.csv", mapping=CELL)
    encode, messages = encoder(PIPELINE, None), []
    for row, key in enumerate(replayed.key.tolist()):
        name = replayed.keys[key]
        measured = dict(zip(replayed.sensors, replayed.values[row].tolist(), strict=True))  # noqa: PD011 - an array of ours
        values = [None if np.isnan(v := measured.get(sensor, np.nan)) else v for sensor in PIPELINE.input.sensors()]
        value = encode(name, "R1", int(replayed.ts[row]), values)
        stamp = (TIMESTAMP_CREATE_TIME, int(replayed.ts[row]))
        messages.append(Message(key=name.encode(), value=value, partition=0, offset=row, timestamp=stamp))
    policy = package.policy.model_copy(update={"setpoint": 0.002, "deadband": 0.001, "priorities": {"HIGH": 0.002}})
    scorer = scorer_of(PIPELINE, package, policy, writer_schema_lookup(None, KNOWN_SCHEMAS))
    scorer.alarms.assign(0, {})
    partitions, expected, transitions = {0: Partition(0, 0, 0)}, {}, set()
    for start in range(0, len(messages), 1000):
        outcome = scorer.process(batch_of(messages[start : start + 1000]), partitions)
        scorer.merge(outcome, partitions)
        got = outcome.scored
        for i, p in enumerate(got.probability.tolist()):
            key = got.readings.key[i]
            expected[key, int(got.readings.ts[i])] = p
        transitions |= {
            (got.readings.key[t.row], t.kind, int(got.readings.ts[t.row])) for t in outcome.alarms.transitions
        }
    origin = int(replayed.ts.min())
    found: dict[tuple[str, int], float] = {}
    made = set()
    with open_recording([recordings / "R1.csv"], PIPELINE, CELL) as recorded:
        backtest = RecordingScorer(PIPELINE, package, policy, recorded.names, recorded.sensors)
        for piece in backtest.score(recorded.pieces()):
            names = [recorded.names[k][0] for k in piece.key.tolist()]
            times = (piece.ts - RELATIVE_START_MS + origin).tolist()
            found |= dict(zip(zip(names, times, strict=True), piece.probability.tolist(), strict=True))
            made |= {(names[t.row], t.kind, times[t.row]) for t in piece.outcome.alarms.transitions}
    assert found == expected
    assert made == transitions
    assert made, "the setpoint was too high to compare any alarm"


def test_a_real_cell_in_normal_operation_raises_no_alarm(recordings: Path, model_package: Path) -> None:
    arguments = [str(recordings / "R1.csv"), *CELL_OPTIONS, "--model", str(model_package), "--json"]
    done = CliRunner().invoke(app, ["backtest", *arguments])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["events"], facts["false_alarms"]) == (0, 0)
    assert facts["readings"] == 26_533 + sum(facts["refused"].values()) - facts["refused"].get("duplicate", 0)
    assert facts["key_days"] == pytest.approx(3.06, abs=0.02)
    # Garwood: no event in 3.06 days leaves up to 3.689 / 3.06.
    assert facts["false_alarms_per_key_day_interval"] == [0, pytest.approx(3.689 / facts["key_days"], rel=1e-3)]


def test_an_alarm_that_rises_is_listed_with_each_priority(package: ModelPackage, tmp_path: Path) -> None:
    result = run(package, saved(recording("fails", runaway_h=1.8), tmp_path / "x.csv"))
    listed = [entry for entry in as_json(result, "m")["alarm_list"] if entry["rule"] == "model"]
    assert [entry["priority"] for entry in listed] == ["HIGH", "CRITICAL"]
    assert len({entry["alarm_id"] for entry in listed}) == 1
    first, then = (entry["t_s"] for entry in listed)
    assert then > first


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_runaway_is_warned_of_by_label(package: ModelPackage, tmp_path: Path, kind: str) -> None:
    frame = pd.concat([recording("fails", runaway_h=1.8), recording("sound")])
    result = run(package, saved(frame, tmp_path / f"test.{kind}"), label_column="hazard")
    assert (len(result.events), result.judged.detected, result.judged.false_alarms) == (1, 1, 0)
    (lead,) = result.judged.event_lead_s
    assert lead is not None
    assert 60 <= lead <= 1200
    warning = result.alarms[0]
    assert result.recorded.names[warning.key][0] == "fails"
    assert "temp" in warning.contributions[0].feature or "voltage" in warning.contributions[0].feature
    # The two hours before the event are the horizon; the wreck's last 12 minutes are no operation either.
    assert result.normal_days == pytest.approx(2 / 24, rel=0.01)


@pytest.mark.parametrize("told", ["fails=6480", "file", "1800 s early"])
def test_events_can_be_given(package: ModelPackage, tmp_path: Path, told: str) -> None:
    path = saved(recording("fails", runaway_h=1.8), tmp_path / "test.csv")
    (tmp_path / "events.csv").write_text("module,time\nfails,6480\n")
    by_label = run(package, path, label_column="hazard")
    if told == "1800 s early":
        result = run(package, path, events="4680")
        assert (result.judged.detected, result.judged.late, result.judged.false_alarms) == (0, 1, 0)
        assert result.judged.lead_percentile_s(50) == 0
        return
    result = run(package, path, events=told if told != "file" else str(tmp_path / "events.csv"))
    assert result.events == by_label.events
    assert result.judged == by_label.judged


def test_without_events_every_alarm_is_false(package: ModelPackage, tmp_path: Path) -> None:
    result = run(package, saved(recording("fails", runaway_h=1.8), tmp_path / "test.csv"))
    assert result.judged.false_alarms == len(result.alarms) >= 1


def test_an_alarm_that_stands_from_before_the_horizon_counts_for_the_horizon(
    package: ModelPackage, tmp_path: Path
) -> None:
    frame = recording("fails", runaway_h=1.8)
    result = run(package, saved(frame, tmp_path / "test.csv"), label_column="hazard", horizon_ms=60_000)
    assert (result.judged.detected, result.judged.false_alarms) == (1, 0)
    assert result.judged.event_lead_s == [60]


def test_an_alarm_that_ended_long_before_the_horizon_is_false() -> None:
    ended = Alarm(0, "a", 0, 10_000, "HIGH", 0.99, cleared_ts=20_000)
    judged = match_alarms([ended], [LabelledEvent(0, 8_000_000, 9_000_000)], 7_200_000)
    assert (judged.verdicts, judged.event_lead_s) == (["false"], [None])


def test_one_alarm_may_warn_of_two_events() -> None:
    standing = Alarm(0, "a", 0, 10_000, "HIGH", 0.99)
    judged = match_alarms(
        [standing], [LabelledEvent(0, 70_000, 80_000), LabelledEvent(0, 1_000_000, 2_000_000)], 7_200_000
    )
    assert (judged.verdicts, judged.event_lead_s) == (["warning"], [60, 990])


def test_a_label_that_flickers_is_one_event(package: ModelPackage, tmp_path: Path) -> None:
    frame = recording("fails", runaway_h=1.8)
    frame.loc[frame.index[-30:-28], "hazard"] = 0
    result = run(package, saved(frame, tmp_path / "test.csv"), label_column="hazard")
    assert (len(result.events), result.judged.detected) == (1, 1)


def test_a_recording_of_which_nothing_can_be_scored_is_an_error(package: ModelPackage, tmp_path: Path) -> None:
    frame = recording().assign(avg_surface_temp_c="hot", voltage_v="high")
    with pytest.raises(UserError, match=r"no reading can be scored \(.*720\)"):
        run(package, saved(frame, tmp_path / "test.csv"))


def test_a_directory_without_recordings_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no .csv and no .parquet file"):
        files_in([tmp_path])


@pytest.mark.slow  # simulates a recording
def test_the_command_warns_writes_plots_and_says_which_model(model_package: Path, tmp_path: Path) -> None:
    frame = recording("fails", runaway_h=1.8).assign(voltage_v=4.0)
    path, output = saved(frame, tmp_path / "x.csv"), tmp_path / "out"
    options = ["--label-column", "hazard", "--model", str(model_package), "--output", str(output)]
    done = CliRunner().invoke(app, ["backtest", str(path), *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "events detected" in done.stdout
    assert "is --topology right" in done.stdout
    assert "the recording has no max_surface_temp_c" in done.stdout
    for plot in ("alarms.png", "policies.png"):
        assert (output / plot).read_bytes().startswith(b"\x89PNG")
    assert json.loads((output / "backtest.json").read_text())["model"].endswith(f"({model_package})")


policy_of = st.builds(
    lambda setpoint, share, on, off: AlarmPolicy(
        setpoint=setpoint,
        deadband=setpoint * share,
        on_delay_ms=on,
        off_delay_ms=off,
        priorities={"HIGH": setpoint, "CRITICAL": (1 + setpoint) / 2},
    ),
    st.floats(0.1, 0.99),
    st.floats(0, 0.9),
    st.sampled_from([0, 10_000, 30_000]),
    st.sampled_from([0, 10_000, 50_000]),
)


@pytest.mark.slow  # simulates a recording
@settings(deadline=None, max_examples=200)
@given(
    policy_of,
    st.lists(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.02, 0.5, 0.999]), max_size=60), min_size=1, max_size=3),
    st.integers(1, 40),
)
def test_leaving_out_readings_that_tell_nothing_changes_no_alarm(
    own: AlarmPolicy, modules: list[list[float]], cut: int
) -> None:
    module = np.repeat(np.arange(len(modules)), [len(m) for m in modules])
    ts = np.concatenate([np.arange(len(m)) * 10_000 for m in modules])
    trace = Trace(module, ts, np.array([p for m in modules for p in m], np.float64))
    tried, names = policies(own), [f"m{i}" for i in range(len(modules))]
    kept = [
        start + np.flatnonzero(telling(trace.key[part], trace.ts[part], trace.probability[part], tried))
        for start in range(0, len(module), cut)
        for part in [slice(start, start + cut)]
    ]
    rows = np.concatenate(kept) if kept else np.empty(0, np.int64)
    thinned = Trace(*(column[rows] for column in vars(trace).values()))
    for policy in tried:
        assert alarms_under(policy, thinned, names) == _alarms_of_all(policy, trace, names)


def _alarms_of_all(policy: AlarmPolicy, trace: Trace, names: list[str]) -> list[Alarm]:
    """What the state machine makes of every reading."""
    machine, alarms = Alarms(policy), dict[str, Alarm]()
    machine.assign(0, {})
    keys = [names[number].encode() for number in trace.key.tolist()]
    staged = machine.stage([0] * len(keys), keys, trace.ts, trace.probability)
    apply(alarms, staged.transitions, trace.key, trace.ts)
    return sorted(alarms.values(), key=lambda alarm: alarm.ts)


def test_the_policy_in_force_gives_the_same_in_the_sweep(package: ModelPackage, tmp_path: Path) -> None:
    frame = pd.concat([recording("fails", runaway_h=1.8), recording("sound"), recording("burns", runaway_h=1.0)])
    result = run(package, saved(frame, tmp_path / "x.csv"), label_column="hazard")
    assert len(result.events) == 2
    (own,) = [judged for policy, judged in result.swept if policy == result.policy]
    of_model = [alarm for alarm in result.alarms if alarm.rule == MODEL]  # the sweep is about no other
    assert own == match_alarms(of_model, result.events, result.horizon_ms)
