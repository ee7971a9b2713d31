"""Times of day without a date, and elapsed times in two forms: refused with what to write instead."""

from pathlib import Path

import pytest

from common.errors import UserError
from producers.recordings.mapping import parse_mapping
from tests.recordings import read_recording, text_file


def test_minutes_and_seconds_beside_hours_need_an_expression(tmp_path: Path) -> None:
    path = text_file(tmp_path, "T,voltage_v", "59:50,50", "1:00:00,51")
    with pytest.raises(UserError, match=r"59:50 and 1:00:00; .* write (ts=if\(.*\))$") as refused:
        read_recording(path, mapping=parse_mapping("ts=T"))
    read = read_recording(path, mapping=parse_mapping(str(refused.value).rpartition("write ")[2]))
    assert read.ts[1] - read.ts[0] == 10_000


def test_times_of_day_that_pass_midnight_need_their_date(tmp_path: Path) -> None:
    rows = [f"2024-06-2{5 + i // 2},{'23:59:50' if i % 2 else '00:00:10'},{50 + i}" for i in range(4)]
    path = text_file(tmp_path, "Day,Time,voltage_v", *rows)
    with pytest.raises(UserError, match=r"backwards 1 times.*by up to 24\.0 hours.*ts=Day \|\| ' ' \|\| Time"):
        read_recording(path, mapping=parse_mapping("ts=Time"))
    read = read_recording(path, mapping=parse_mapping("ts=Day || ' ' || Time"))
    assert read.column("voltage_v").tolist() == [50, 51, 52, 53]
