"""Which records that cannot be read may have been written by a worker."""

import pytest

from schemas.errors import (
    IncompatibleSchemaError,
    InvalidValueError,
    MalformedError,
    NullValueError,
    UnknownSchemaError,
    UnreadableValueError,
)
from worker.recover.authorship import may_be_ours

BY_ID, BY_FINGERPRINT, OTHER = b"\0\0\0\0\x02abc", b"\xc3\x01abcdefgh", b"text"


@pytest.mark.parametrize(
    ("value", "error", "ours"),
    [
        (BY_ID, UnknownSchemaError(), True),
        (BY_ID, IncompatibleSchemaError(), True),
        (BY_ID, InvalidValueError(), True),
        (BY_ID, NullValueError(), True),
        (BY_ID, MalformedError(), False),
        (BY_FINGERPRINT, IncompatibleSchemaError(), True),
        (BY_FINGERPRINT, UnknownSchemaError(), False),
        (BY_FINGERPRINT, InvalidValueError(), False),
        (OTHER, MalformedError(), False),
        (OTHER, UnknownSchemaError(), False),
    ],
)
def test_a_value_may_be_ours(value: bytes, error: UnreadableValueError, ours: bool) -> None:
    assert may_be_ours(value, error) == ours
