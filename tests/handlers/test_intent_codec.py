"""The codec: every body is a text or a BadRequest of the contract, and nothing else."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intent_codec import MAX_TEXT_BYTES, MESSAGES, BadRequest, decode, encode, encode_error


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"text":"where is my order"}', "where is my order"),
        (b' \n{"text":"a"}\t', "a"),
        ('{"text":"où 😀"}'.encode(), "où 😀"),
        (b'{"text":"\\ud83d\\ude00"}', "😀"),
        (b'{"text":"a","other":[1,2,{"text":5}]}', "a"),
        (b'{"text":5,"text":"a"}', "a"),
        (b'{"text":" a "}', " a "),
        (b'{"text":"a\\u0000b"}', "a\0b"),
        (json.dumps({"text": "a" * MAX_TEXT_BYTES}).encode(), "a" * MAX_TEXT_BYTES),
        (bytearray(b'{"text":"a"}'), "a"),
    ],
)
def test_decodes(body, text):
    assert decode(body) == text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"where is my order", 400, "invalid_json"),
        (b'{"text":NaN}', 400, "invalid_json"),
        (b'{"text":"a","n":Infinity}', 400, "invalid_json"),
        (b'{"text":"a"}{"text":"b"}', 400, "invalid_json"),
        (b'\xef\xbb\xbf{"text":"a"}', 400, "invalid_json"),
        (b'{"text":"line\nbreak"}', 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"text":"a","deep":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "invalid_json"),
        (b"\xff", 400, "invalid_utf8"),
        (b'{"text":"\xc0\x80"}', 400, "invalid_utf8"),
        ('{"text":"a"}'.encode("utf-16"), 400, "invalid_utf8"),
        (b'{"text":"\\ud83d"}', 400, "invalid_utf8"),
        (b'"a"', 400, "not_an_object"),
        (b"null", 400, "not_an_object"),
        (b"[]", 400, "not_an_object"),
        (b"9" * 5000, 400, "not_an_object"),
        (b"{}", 400, "missing_text"),
        (b'{"Text":"a"}', 400, "missing_text"),
        (b'{"text":5}', 400, "wrong_type"),
        (b'{"text":null}', 400, "wrong_type"),
        (b'{"text":"a","text":[]}', 400, "wrong_type"),
        (b'{"text":""}', 400, "blank_text"),
        ('{"text":" \\n\u3000"}'.encode(), 400, "blank_text"),
        (json.dumps({"text": "a" * (MAX_TEXT_BYTES + 1)}).encode(), 413, "text_too_long"),
        (json.dumps({"text": " " * (MAX_TEXT_BYTES + 1)}).encode(), 413, "text_too_long"),
        (json.dumps({"text": "é" * (MAX_TEXT_BYTES // 2 + 1)}).encode(), 413, "text_too_long"),
    ],
)
def test_refuses(body, status, code):
    with pytest.raises(BadRequest) as caught:
        decode(body)
    assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, MESSAGES[code])


def test_a_number_of_a_million_digits_costs_no_more_than_its_bytes():
    body = b'{"text":"a","n":' + b"9" * 1_000_000 + b"}"
    started_s = time.perf_counter()
    assert decode(body) == "a"
    assert time.perf_counter() - started_s < 1.0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_text_or_a_bad_request(body):
    check_any(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("text"), inner, max_size=3),
)


@given(VALUES | st.fixed_dictionaries({"text": VALUES}))
def test_any_json_value_is_a_text_or_a_bad_request(value):
    check_any(json.dumps(value).encode())


def check_any(body):
    found = outcome(body)
    if isinstance(found, BadRequest):
        assert found.status in (400, 413)
        assert found.message == MESSAGES[found.code]
    else:
        assert found.strip()
        assert len(found.encode("utf-8")) <= MAX_TEXT_BYTES


def outcome(body):
    """Return the text of a body or the BadRequest it raised; any other exception fails the test."""
    try:
        return decode(body)
    except BadRequest as refused:
        return refused


def test_encodes_compactly_and_in_order():
    assert encode({"b": 1, "a": ["é"]}) == '{"b":1,"a":["é"]}'.encode()
    assert encode_error("internal", "x") == b'{"error":{"code":"internal","message":"x"}}'


def test_encodes_no_number_that_json_lacks():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"confidence": float("nan")})
