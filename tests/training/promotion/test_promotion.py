"""What the shadow recorded decides: enough evidence, and not worse, or the champion stays."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.json_text import strict_json
from common.times import HOUR_MS, MINUTE_MS
from tests.flagship import PIPELINE
from training.monitoring.performance.labels import EVENT, FALSE_ALARM, Label
from training.promotion.cli import _print
from training.promotion.decide import Requirements, decide
from training.promotion.evidence import Evidence, ShadowRecords
from training.promotion.labels_file import read_labels
from worker.alarms.state_machine import ACTIVE, RTN

SOURCE = PIPELINE.input
START_MS = 1_780_000_000_000 // HOUR_MS * HOUR_MS
ASKED = Requirements(key_days=1.0, events=1)


class Recorded:
    """Shadow records of a day of some modules, one a minute; alarms are put in by hand.

    `published` are the champion's, as on the topic of alarms.
    """

    def __init__(self, modules: int = 4, hours: int = 24) -> None:
        self.published: list[dict[str, Any]] = []
        self.records: dict[tuple[int, int], dict[str, Any]] = {}
        for module in range(modules):
            for minute in range(hours * 60):
                self.records[module, minute] = {
                    "module_id": f"m{module}",
                    "ts": START_MS + minute * MINUTE_MS,
                    "champion_version": "1",
                    "challenger_version": "2",
                    "champion_probability": 0.01,
                    "challenger_probability": 0.03,
                    "champion_positive": False,
                    "challenger_positive": False,
                    "champion_alarm": "",
                    "challenger_alarm": "",
                    "source_partition": module,
                    "source_offset": minute,
                }

    def alarm(self, model: str, module: int, minute: int, until: int) -> None:
        for at in range(minute, until):
            self.records[module, at] |= {f"{model}_positive": True, f"{model}_probability": 0.9}
        self.transition(model, module, minute, minute, ACTIVE)
        self.transition(model, module, minute, until, RTN)

    def transition(self, model: str, module: int, onset: int, minute: int, state: str) -> None:
        if (module, minute) in self.records:
            self.records[module, minute][f"{model}_alarm"] = state
        if model == "champion":
            alarm = {"module_id": f"m{module}", "alarm_id": f"{module}/{onset}", "onset_ts": at(onset)}
            made = {"ts": at(minute), "state": state, "priority": "HIGH", "peak_probability": 0.9}
            self.published.append(alarm | made)

    def miss(self, module: int, minute: int, until: int) -> None:
        """The challenger is late for these readings; what its alarm would have done, it does at the next."""
        for at in range(minute, until):
            if made := self.records.pop((module, at))["challenger_alarm"]:
                self.records[module, until]["challenger_alarm"] = made

    def evidence(self, *labels: Label, versions: tuple[str, str] = ("1", "2"), times: int = 1) -> Evidence:
        shadowed = ShadowRecords(PIPELINE, versions)
        for record in [*self.records.values()] * times:
            shadowed.add(record)
        return shadowed.evidence(labels, self.published, 6 * HOUR_MS)


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_agreement_difference_and_exposure_are_those_of_the_records(recorded: Recorded) -> None:
    recorded.alarm("challenger", 0, 100, 172)
    found = recorded.evidence(times=2)  # what is there twice counts once
    assert (found.readings, found.keys, found.key_days) == (4 * 1440, 4, 4.0)
    assert found.agreed == 4 * 1440 - 72
    assert found.difference_mean == pytest.approx(((5760 - 72) * 0.02 + 72 * 0.89) / 5760)
    assert found.as_json()["agreement"] == pytest.approx(1 - 72 / 5760)


def test_events_alarms_and_leads_of_both_models(recorded: Recorded) -> None:
    recorded.alarm("champion", 0, 590, 700)
    recorded.alarm("challenger", 0, 580, 700)
    recorded.alarm("champion", 1, 300, 310)
    found = recorded.evidence(Label("m0", at(600), EVENT), Label("m1", at(305), FALSE_ALARM))
    champion, challenger = found.champion, found.challenger
    assert (champion.warned, champion.in_time, champion.lead_median_s) == (1, 1, 600.0)
    assert (challenger.warned, challenger.in_time, challenger.lead_median_s) == (1, 1, 1200.0)
    assert (champion.unexplained, champion.marked, champion.precision) == (1, 1, 0.5)
    assert (challenger.unexplained, challenger.marked, challenger.precision) == (0, 0, 1.0)
    assert champion.unexplained_per_key_day == 0.25
    assert champion.recall_ci == pytest.approx((0.025, 1.0))
    assert decide(found, ASKED).promote


def test_an_alarm_that_stands_is_not_raised_again_by_a_higher_priority(recorded: Recorded) -> None:
    recorded.alarm("challenger", 0, 100, 120)
    recorded.records[0, 110]["challenger_alarm"] = ACTIVE
    assert recorded.evidence().challenger.alarms == 1


@pytest.mark.parametrize(("gap", "until", "seen"), [(590, 593, 2), (695, 705, 2), (580, 602, 2), (588, 710, 1)])
def test_batches_missed_favour_neither_of_two_that_do_the_same(
    recorded: Recorded, gap: int, until: int, seen: int
) -> None:
    for model in ("champion", "challenger"):
        recorded.alarm(model, 0, 590, 700)
        recorded.alarm(model, 0, 1100, 1110)
    recorded.miss(0, gap, until)
    found = recorded.evidence(Label("m0", at(600), EVENT), Label("m0", at(1200), EVENT))
    assert found.champion == found.challenger
    assert found.champion.alarms == seen


def test_alarms_that_came_one_after_the_other_unseen_are_one(recorded: Recorded) -> None:
    recorded.alarm("champion", 0, 100, 120)
    recorded.alarm("champion", 0, 121, 140)
    recorded.alarm("challenger", 0, 100, 140)
    recorded.miss(0, 118, 125)
    found = recorded.evidence()
    assert (found.champion.alarms, found.challenger.alarms) == (1, 1)


def test_an_alarm_that_stood_before_the_shadow_began_counts_from_then_on(recorded: Recorded) -> None:
    recorded.transition("champion", 0, -30, -30, ACTIVE)
    recorded.transition("champion", 0, -30, 20, RTN)
    recorded.transition("champion", 1, -30, -30, ACTIVE)
    recorded.transition("champion", 1, -30, -10, RTN)
    recorded.transition("champion", 9, 5, 5, ACTIVE)  # of a module that is not in the shadow
    recorded.alarm("challenger", 0, 0, 20)
    found = recorded.evidence(Label("m0", at(10), EVENT))
    assert found.champion == found.challenger
    assert (found.champion.alarms, found.champion.lead_median_s) == (1, 600.0)


def test_records_of_other_versions_do_not_count(recorded: Recorded) -> None:
    found = recorded.evidence(versions=("1", "3"))
    assert (found.readings, found.key_days) == (0, 0.0)
    assert decide(found, Requirements(0, 0)).promote  # who asks for nothing gets it
    assert decide(found, ASKED).insufficient


def test_events_of_modules_that_were_not_in_the_shadow_do_not_count(recorded: Recorded) -> None:
    found = recorded.evidence(Label("elsewhere", at(600), EVENT), Label("m0", at(600) + 48 * HOUR_MS, EVENT))
    assert found.events == 0
    assert found.unknown_keys == ("elsewhere",)
    assert "0 confirmed events" in decide(found, ASKED).insufficient[0]


def test_modules_of_labels_that_the_shadow_has_never_seen_are_named(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = [Label(f"far{n:02}", at(600), EVENT) for n in range(12)]
    found = recorded.evidence(Label("m0", at(600), EVENT), *elsewhere)
    _print("battery_hazard", found, decide(found, ASKED))
    told = " ".join(capsys.readouterr().out.split())
    assert "never seen do not count: far00, far01," in told
    assert "far09 and 2 more" in told
    found = recorded.evidence(Label("m0", at(600), EVENT))
    _print("battery_hazard", found, decide(found, ASKED))
    assert "never seen" not in capsys.readouterr().out


def test_evidence_of_nothing_is_strict_json(recorded: Recorded) -> None:
    found = recorded.evidence(versions=("1", "3"))
    told = json.loads(strict_json(found.as_json()))
    assert told["champion"]["unexplained_per_key_day_ci"] == [0.0, None]


@pytest.mark.parametrize(("minute", "marked"), [(299, 0), (305, 1), (330, 1)])
def test_a_mark_is_of_the_alarm_that_stood_or_of_the_last_before(recorded: Recorded, minute: int, marked: int) -> None:
    recorded.alarm("champion", 1, 300, 310)
    recorded.alarm("challenger", 1, 300, 310)
    recorded.alarm("champion", 1, 100, 110)
    recorded.miss(1, 95, 112)  # an operator's mark of an alarm that the shadow did not see is not of another
    found = recorded.evidence(Label("m1", at(minute), FALSE_ALARM))
    assert (found.champion.alarms, found.champion.marked, found.challenger.marked) == (1, marked, marked)


def test_too_short_in_the_shadow() -> None:
    found = Recorded(modules=1, hours=6).evidence(Label("m0", at(100), EVENT))
    (reason,) = decide(found, ASKED).insufficient
    assert "0.25 key-days" in reason


def test_a_challenger_that_misses_an_event_is_worse(recorded: Recorded) -> None:
    recorded.alarm("champion", 0, 590, 700)
    verdict = decide(recorded.evidence(Label("m0", at(600), EVENT)), ASKED)
    assert not verdict.insufficient
    assert len(verdict.worse) == 2  # not warned of, and so not in time
    assert not verdict.promote


def test_a_challenger_that_warns_too_late_to_get_away_is_worse(recorded: Recorded) -> None:
    recorded.alarm("champion", 0, 590, 700)
    recorded.alarm("challenger", 0, 598, 700)
    (reason,) = decide(recorded.evidence(Label("m0", at(600), EVENT)), ASKED).worse
    assert "300 s ahead" in reason


@pytest.mark.parametrize(("more", "worse"), [(1, False), (4, False), (5, True), (12, True)])
def test_more_alarms_without_an_event_count_when_it_is_no_chance(recorded: Recorded, more: int, worse: bool) -> None:
    for n in range(more):
        recorded.alarm("challenger", 1, n * 60, n * 60 + 20)
    verdict = decide(recorded.evidence(), Requirements(1.0, 0))
    assert bool(verdict.worse) == worse


def test_labels_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("module_id,ts,kind\nm0,2026-01-31T12:00:00Z,event\nm1,2026-01-31T13:00:00Z,false_alarm\n")
    assert read_labels(file, SOURCE) == [
        Label("m0", 1_769_860_800_000, EVENT),
        Label("m1", 1_769_864_400_000, FALSE_ALARM),
    ]
    file.write_text("module_id,ts\nm0,1769860800000\n")
    assert read_labels(file, SOURCE) == [Label("m0", 1_769_860_800_000, EVENT)]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("name,when\nm0,2026-01-31\n", "needs a column module_id"),
        ("module_id,ts\nm0,2026-01-31T12:00:00Z\nm1,2026-02-01T12:00:00Z\nm1,soon\n", "soon"),
        ("module_id,ts,kind\nm0,2026-01-31T12:00:00Z,fire\n", "'fire' is not known"),
        ("module_id,ts\nm0,12\n", "counts from a start"),
        ("module_id,ts,kind\n,,\n", r"labels.csv holds no labels: from line 2 on there is nothing"),
        ("module_id,ts,kind\n", r"labels.csv holds no labels"),
        ("module_id,ts\nm0,2026-01-31\nm0,\n", r"labels.csv, line 3: nothing in column ts"),
        ("module_id,ts\nm0,2026-01-31\n\n,2026-01-31\n", r"labels.csv, line 4: nothing in column module_id"),
        ("module_id,ts,kind\nm0,2026-01-31,event\nm0,2026-01-31,\n", r"labels.csv, line 3: nothing in column kind"),
        ("module_id,ts,kind\nm0,2026-01-31,event\nm0,2026-01-31\n", r"labels.csv, line 3: the row has 2 fields"),
    ],
)
def test_files_that_hold_no_labels_are_refused_by_what_is_wrong(tmp_path: Path, content: str, fault: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=fault):
        read_labels(file, SOURCE)
