"""A short part of the fuzzing in docs/robustness.md, and hypothesis on the same payloads, which shrinks them."""

import json
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.judge import Judge, broker_times, message_keys
from tests.fuzz.payloads import KINDS, payload, source
from tests.fuzz.run import run
from tests.fuzz.writers import START_MS, Writers

WRITERS = Writers(Random(3), 40)
AT_HAND = source(Random(3), WRITERS, 300)


@pytest.mark.slow  # hundreds of payloads
def test_a_seeded_run_finds_no_difference_and_reaches_every_verdict() -> None:
    account = run(7, payloads=6000)
    assert account.payloads == account.accepted + sum(account.reasons.values())
    reasons = {"malformed", "unknown_schema", "incompatible_schema", "null_value", "invalid", "wrong_key"}
    reasons |= {"implausible_time", "no_timestamp", "future"}
    assert set(account.reasons) == reasons
    assert account.by_kind.keys() == KINDS.keys()
    assert account.accepted > 300
    assert account.by_columns > 300, "the columnar path read next to nothing: it was not compared"
    assert account.proven_by_fastavro > account.payloads / 2
    assert account.by_kind["spliced"]["accepted"] + account.by_kind["overlong number"]["accepted"] > 0


@pytest.mark.slow  # hundreds of payloads
@settings(max_examples=150, deadline=None)
@given(st.lists(st.randoms(use_true_random=False), min_size=1, max_size=6), st.lists(st.booleans(), min_size=6))
def test_whatever_is_drawn_all_ways_of_reading_agree(randoms: list[Random], right: list[bool]) -> None:
    judge = Judge(WRITERS)
    values = [payload(rng, AT_HAND)[1] for rng in randoms]
    readings, refused = judge.decode(values)
    judge.compare(values, readings, refused)
    wrong = [not r for r in right]
    judge.validate(
        readings,
        message_keys(readings, len(values), wrong),
        broker_times(len(values), START_MS, right[:6][: len(values)]),
    )


@pytest.mark.slow  # hundreds of payloads
def test_the_command_prints_its_account_as_json() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--payloads", "200", "--seed", "5", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["payloads"] >= 200
    assert figures["differences"] == 0
    assert figures["rss_after_bytes"] > 0
