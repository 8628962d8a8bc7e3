from __future__ import annotations

import math

import pytest

from chatload import answer


@pytest.mark.parametrize(("told", "kept"), [(-1, 0), (65_535, 65_535), (10**30, 65_535)])
def test_a_count_of_tokens_fits_its_column(told, kept):
    assert answer.intent_and_tokens(b'{"intent":"greet","tokens":%d}' % told) == ("greet", kept)


@pytest.mark.parametrize(
    ("header", "tokenize_ms", "infer_ms"),
    [
        (b"tokenize;dur=0.12, infer;dur=5.31", 0.12, 5.31),
        (b"tokenize;dur=0.12, infer;dur=5", 0.12, 5.0),
        (b"tokenize;dur=0.12, infer;dur=5.31, queue;dur=9.5", 0.12, 5.31),
        (b"infer;dur=5,queue;dur=9,tokenize;desc=words;dur=1e-3", 1e-3, 5.0),
        (b'cache;desc="hit", infer;dur=2.5;desc=x', math.nan, 2.5),
        (b"tokenize;dur=0.12, queue;dur=9.5, infer;dur=5.31", 0.12, 5.31),
        (b"tokenize;dur=soon, infer;dur=5.31", math.nan, 5.31),
        (b"tokenize;dur=null, infer;dur=5.31", math.nan, 5.31),
        (b"infer;dur=soon, tokenize", math.nan, math.nan),
        (b"tokenize;dur=0.12, infer;dur=1e39", 0.12, math.nan),  # more than a row's float32 can hold
        (b"infer;dur=1e39, tokenize;dur=inf", math.nan, math.nan),
        (b"tokenize;dur=-1, infer;dur=2", math.nan, 2.0),
        (b"reinfer;dur=1, infer_more;dur=2", math.nan, math.nan),
        (b"", math.nan, math.nan),
    ],
)
def test_the_server_s_timings_are_read(header, tokenize_ms, infer_ms):
    assert answer.server_timing(header) == pytest.approx((tokenize_ms, infer_ms), nan_ok=True)
