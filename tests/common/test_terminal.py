"""Tables in narrow terminals."""

import io

import pytest
from rich.table import Table

from common.terminal import terminal

FIRST, LAST = "2026-01-31T12:00:00.123Z", "2026-01-31T23:59:59.999Z"
ALARM = "c7de2df2-f8de-59d7-8a1b-2858965f16f6"


def printed(width: int, *rows: tuple[str, ...]) -> str:
    table = Table(*rows[0], title="some rows")
    for row in rows[1:]:
        table.add_row(*row)
    out = io.StringIO()
    terminal(file=out, width=width).print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_timestamp_or_a_code_is_never_broken(width: int) -> None:
    text = printed(width, ("reason", "first", "last", "alarm"), ("out of the range of the sensor", FIRST, LAST, ALARM))
    assert all(value in text for value in (FIRST, LAST, ALARM, "some rows", "alarm"))
    assert max(map(len, text.splitlines())) <= width


def test_a_table_that_fits_stays_one() -> None:
    text = printed(80, ("reason", "first", "meaning"), ("late", FIRST, "older than its key's newest reading " * 3))
    assert text.count(FIRST) == 1
    assert "\u2502" in text


def test_names_stand_beside_cells_where_a_table_is_too_wide() -> None:
    text = printed(50, ("reason", "first", "last"), ("late", FIRST, LAST), ("future", LAST, FIRST))
    assert [line.split() for line in text.splitlines() if line][1:4] == [
        ["reason", "late"],
        ["first", FIRST],
        ["last", LAST],
    ]
