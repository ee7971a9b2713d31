"""Times are shown in one form, that of the logs."""

from datetime import datetime
from typing import Literal

import pytest

from common.times import iso_now, iso_utc


@pytest.mark.parametrize(
    ("ts_ms", "precision", "text"),
    [
        (1_769_860_800_999, "minutes", "2026-01-31T12:00Z"),
        (1_769_860_800_999, "seconds", "2026-01-31T12:00:00Z"),
        (1_769_860_800_999, "milliseconds", "2026-01-31T12:00:00.999Z"),
        (2**63 - 1, "seconds", "9223372036854775807 ms"),
    ],
)
def test_form_of_a_time(ts_ms: int, precision: Literal["minutes", "seconds", "milliseconds"], text: str) -> None:
    assert iso_utc(ts_ms, precision) == text


def test_the_current_time_has_an_offset() -> None:
    assert datetime.fromisoformat(iso_now()).tzinfo is not None
