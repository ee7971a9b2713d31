"""Times that cannot be meant are refused, with words that say what they look like; none overflows."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro_record import AvroRecord
from schemas.text_column import TextColumn
from tests.flagship import PIPELINE, changeable_schema
from tests.harness import NORMAL, START_MS
from worker.config.inputs_outputs import Input
from worker.score.readings import Readings, Rejection
from worker.score.validate import Validator

SOURCE = PIPELINE.input
NOW_MS = 1_790_000_000_000


def outcome(times: list[int], stamped: list[int], source: Input = SOURCE) -> tuple[list[int], list[Rejection]]:
    """Times that pass, and the others' rejections by row."""
    n, sensors = len(times), source.sensors()
    text = TextColumn.of([b"m"] * n)
    values = np.tile([NORMAL.get(s, np.nan) for s in sensors], (n, 1))
    readings = Readings(np.arange(n), text, text, np.array(times, np.int64), values, ~np.isnan(values))
    valid, rejected = Validator(source)(readings, text, np.array(stamped, np.int64))
    return valid.readings.ts.tolist(), sorted(rejected, key=lambda r: r.row)


@pytest.mark.parametrize(
    ("ts", "words"),
    [
        (START_MS // 1000, "ts 1780000000 looks like seconds since 1970; milliseconds are expected"),
        (START_MS * 1000, "looks like microseconds"),
        (START_MS * 1_000_000, "looks like nanoseconds"),
        (900_000_000_000, "lies before 2000-01-01"),
        (5_000, "lies before 2000-01-01"),
    ],
)
def test_the_words_say_which_unit_it_looks_like(ts: int, words: str) -> None:
    passed, (rejection,) = outcome([ts], [NOW_MS])
    assert passed == []
    assert rejection.reason == "implausible_time"
    assert words in rejection.message


def test_a_recording_of_years_ago_passes_and_one_that_counts_from_its_start_does_by_its_own_stamps() -> None:
    assert outcome([946_684_800_000, START_MS], [NOW_MS, NOW_MS]) == ([946_684_800_000, START_MS], [])
    assert outcome([1, 5_000], [1, 5_000]) == ([1, 5_000], [])


def test_a_time_that_nothing_can_be_compared_with_is_refused() -> None:
    passed, (rejection,) = outcome([START_MS, 4_000_000_000_000], [NOW_MS, -1])
    assert passed == [START_MS]
    assert (rejection.row, rejection.reason) == (1, "no_timestamp")
    assert "no Kafka timestamp that ts 4000000000000 can be checked against" in rejection.message


def any_time() -> AvroRecord:
    """The record with a time that may be any number."""
    schema = changeable_schema("SensorReading")
    time = next(field for field in schema["fields"] if field["name"] == SOURCE.time)
    del time["minimum"], time["maximum"]
    return AvroRecord("SensorReading", Path("SensorReading.avsc"), schema)


edges = [0, -1, 1, 2**42, 2**53, -(2**53), 2**63 - 1, -(2**63), START_MS // 1000, START_MS, NOW_MS + 300_001]
times = st.one_of(st.sampled_from(edges), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(times, st.sampled_from([-1, 0, NOW_MS])), min_size=1, max_size=20))
def test_any_integer_has_an_outcome_and_what_passes_leaves_room_to_reckon_with(rows: list[tuple[int, int]]) -> None:
    unbounded = SOURCE.model_copy(update={"record": any_time()})
    for source in (SOURCE, unbounded):
        passed, rejected = outcome([ts for ts, _ in rows], [stamped for _, stamped in rows], source)
        assert len(passed) + len(rejected) == len(rows)
        assert all(abs(ts) <= 2**53 for ts in passed)
        assert {r.reason for r in rejected} <= {"invalid", "implausible_time", "no_timestamp", "future"}
        assert all(r.message for r in rejected)
    accepted = [ts for ts, stamped in rows if stamped == NOW_MS and 946_684_800_000 <= ts <= NOW_MS + 300_000]
    assert set(accepted) <= set(passed)
