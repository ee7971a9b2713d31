"""Files whose columns are aligned with blanks are refused with a query that reads them."""

from pathlib import Path

import pytest

from common.errors import UserError
from producers.recordings.mapping import Mapping, parse_mapping
from tests.recordings import read_recording, text_file


def query_of(path: Path) -> str:
    """The query that the refusal suggests."""
    with pytest.raises(UserError, match=r"columns of fixed width.*--query") as refused:
        read_recording(path, mapping=parse_mapping("ts=Time,voltage_v=Voltage"))
    return str(refused.value).partition("for example: ")[2]


def read_with(path: Path, query: str) -> list[list[float]]:
    read = read_recording(path, mapping=Mapping(columns=COLUMNS, query=query, time_unit="s"))
    return [((read.ts - read.ts[0]) / 1000).tolist(), *(read.column(name).tolist() for name in COLUMNS if name != "ts")]


COLUMNS = {"ts": "Time", "voltage_v": "Voltage", "avg_surface_temp_c": "Temp"}


@pytest.mark.parametrize(
    "line", ["{:<10}{:<9}{:<6}", "{:>8}{:>9}{:>6}"], ids=["aligned to the left", "aligned to the right"]
)
def test_the_suggested_query_reads_the_file(tmp_path: Path, line: str) -> None:
    rows = [line.format(i * 10, 50 + i, 20.5) for i in range(20)]
    path = text_file(tmp_path, line.format("Time", "Voltage", "Temp"), *rows)
    times, volts, temperatures = read_with(path, query_of(path))
    assert times == [i * 10 for i in range(20)]
    assert volts == [50 + i for i in range(20)]
    assert temperatures == [20.5] * 20


def test_a_value_that_is_not_there_does_not_move_the_next_one(tmp_path: Path) -> None:
    rows = [f"{i * 10:<10}{'' if i == 3 else 50:<9}{20.5:<6}" for i in range(8)]
    path = text_file(tmp_path, f"{'Time':<10}{'Voltage':<9}{'Temp':<6}", *rows)
    _, volts, temperatures = read_with(path, query_of(path))
    assert [i for i, value in enumerate(volts) if value != 50] == [3]
    assert temperatures == [20.5] * 8


def test_a_value_that_is_wider_further_down_is_never_cut(tmp_path: Path) -> None:
    rows = [f"{i * 10:>6}{50:>9}" for i in range(2000)]
    path = text_file(tmp_path, f"{'Time':>6}{'Voltage':>9}", *rows)
    query = query_of(path)
    read = read_recording(
        path, mapping=Mapping(columns={"ts": "Time", "voltage_v": "Voltage"}, query=query, time_unit="s")
    )
    assert read.ts[-1] - read.ts[0] == 19_990_000


def test_a_name_with_blanks_in_a_file_of_one_column_is_no_table(tmp_path: Path) -> None:
    path = text_file(tmp_path, "pack voltage", "50", "51")
    with pytest.raises(UserError, match="no column Time"):
        read_recording(path, mapping=parse_mapping("ts=Time"))
