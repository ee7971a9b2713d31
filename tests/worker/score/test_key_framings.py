"""A message's key says the text of its key field in any framing, and in no other form."""

import json
import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.text_column import TextColumn
from schemas.wire import (
    confluent_prefix,
    single_object_prefix,
)
from tests.framings import avro_key
from worker.score.message_keys import all_that_say, says

FRONTS = (b"", confluent_prefix(7), b"\0" + struct.pack(">Q", 7), single_object_prefix("string"))


@given(st.text(min_size=1, max_size=100), st.sampled_from(FRONTS), st.sampled_from([b"", b"\0", b"\2"]))
@example("seventeen letters", b"", b"")  # their Avro string begins with a quotation mark
def test_a_key_says_the_text_as_json_or_avro_in_any_framing(text: str, front: bytes, branch: bytes) -> None:
    assert says(front + branch + avro_key(text), text.encode())
    assert says(json.dumps(text).encode(), text.encode())
    assert not says(front + branch + avro_key(text + "x"), text.encode())
    assert not says(json.dumps(text + "x").encode(), text.encode())


TEXTS = st.one_of(st.sampled_from(["m", "seventeen letters", 'a"', "\\", "ü", "x" * 70]), st.text(max_size=20))
FORMS = (
    lambda text: text.encode(),
    lambda text: json.dumps(text).encode(),
    lambda text: json.dumps(text, ensure_ascii=False).encode() + b" ",
    lambda text: b'"' + text.encode() + b'"',
    lambda text: FRONTS[1] + avro_key(text),
    lambda text: FRONTS[3] + b"\2" + avro_key(text),
    lambda text: b"\0\0\0\0" + avro_key(text),
    avro_key,
)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(FORMS), st.booleans()), max_size=30))
def test_keys_of_a_batch_are_decoded_as_one_by_one(rows: list[tuple[str, str, Callable[[str], bytes], bool]]) -> None:
    texts = [text.encode() for text, _, _, _ in rows]
    keys = [form(text if same else other) for text, other, form, same in rows]
    found = all_that_say(TextColumn.of(keys), TextColumn.of(texts))
    assert found.tolist() == [says(key, text) for key, text in zip(keys, texts, strict=True)]


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\0",
        b'"',
        b'"ab',
        b"ab",
        b"x" + avro_key("abc"),
        b"\0\0\0" + avro_key("abc"),
        b'{"id": "abc"}',
        b'["abc"]',
    ],
)
def test_a_key_in_any_other_form_does_not_say_it(key: bytes) -> None:
    assert not says(key, b"abc")
