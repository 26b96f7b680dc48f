"""JSON as others write it: what is damaged without meaning to be is mended, everything else is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.json_reading import JsonMalformed, as_utf8, is_json, read_json

pytestmark = pytest.mark.case("F01")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"Noemi \ud83d"', "Noemi \ufffd"),
        (rb'"\ude00 Noemi"', "\ufffd Noemi"),
        (rb'"\ud83d\ud83d\ude00\ude00"', "\ufffd\U0001f600\ufffd"),
        (rb'"\ud83d\n\ude00"', "\ufffd\n\ufffd"),
        (rb'"C:\\ud83d"', r"C:\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'{"half \uD83D": 1}', {"half \ufffd": 1}),
        (b'"half \xf0\x9f\x98"', "half \ufffd"),
        (b'"ol\xe1"', "ol\ufffd"),
        (b'"\xed\xa0\xbd\xed\xb8\x80 \xed\xa0\xbd"', "\U0001f600 \ufffd"),
        (b'\xef\xbb\xbf{"a": "\xc3\xa1"}', {"a": "á"}),
        ('{"a": "á😀"}'.encode("utf-16"), {"a": "á😀"}),
        ('\ufeff{"a": 1}'.encode("utf-16-be"), {"a": 1}),
        (b'"two\nlines\tand \x01"', "two\nlines\tand \x01"),
        (rb'"a\u0000b"', "a\x00b"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b"[18446744073709551616]", [2.0**64]),
        (b"[9223372036854775808, 1e400]", [2**63, math.inf]),
        (b"[18446744073709551616, -9223372036854775809, -Infinity]", [2.0**64, -(2.0**63), -math.inf]),
        (b"[" + b"9" * 5_000 + b"]", [math.inf]),
    ],
)
def test_what_was_damaged_on_the_way_is_mended(raw: bytes, value: Any) -> None:
    found = read_json(raw)
    assert found == value
    assert repr(found) == repr(value), "of another type"
    assert is_json(raw)


def test_what_is_no_number_is_one_that_no_reader_takes() -> None:
    assert math.isnan(read_json(b"NaN"))


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"{", b'{"a":}', b"event=x", b"'a'", b'\xef\xbb\xbf{"a"', b"\xff\xfe{}", b'"\\ud83', b"[01]"]
)
def test_what_is_no_json_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(JsonMalformed) as refused:
        read_json(raw)
    assert refused.value.line == 1
    assert refused.value.column >= 1
    assert not refused.value.too_deep
    assert not is_json(raw)


@pytest.mark.parametrize("damage", [b"", b"NaN,", rb'"\ud83d",', b"\xef\xbb\xbf"])
@pytest.mark.parametrize("depth", [1_500, 100_000])
def test_what_nests_too_deeply_is_said_to(damage: bytes, depth: int) -> None:
    mark, inner = (damage, b"") if damage.startswith(b"\xef") else (b"", damage)
    with pytest.raises(JsonMalformed) as refused:
        read_json(mark + b"[" + inner + b"[" * depth + b"]" * depth + b"]")
    assert refused.value.too_deep


def test_what_anybody_may_have_sent_is_mended_up_to_a_size() -> None:
    raw = rb'["\ud83d"]'
    assert read_json(raw, mended_bytes_max=len(raw)) == ["\ufffd"]
    with pytest.raises(JsonMalformed):
        read_json(raw, mended_bytes_max=len(raw) - 1)
    assert read_json(b"[1]", mended_bytes_max=0) == [1]


def test_utf_16_is_turned_into_what_can_be_searched_and_nothing_else_is() -> None:
    assert as_utf8('{"secret":"á"}'.encode("utf-16")) == '{"secret":"á"}'.encode()
    for raw in (b'\xff\xfe{"secret":"S3CRET"}', b"{}", b"\xef\xbb\xbf{}", b""):
        assert as_utf8(raw) is raw


@settings(max_examples=300, deadline=None, database=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_text_that_comes_out_is_unicode_and_whole_values_stay_as_they_are(value: Any, encoding: str) -> None:
    escaped = json.dumps(value).encode(encoding)
    found = read_json(escaped)
    assert orjson.dumps(found).decode()
    if "\\ud" not in json.dumps(value).lower():
        assert found == value
