from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.units import UnitError, format_duration, format_ms, format_share, parse_duration_s, parse_share


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("250ms", 0.25), ("1h30m", 5400), ("2", 2), ("0.5s", 0.5), ("1m 5s", 65), ("100us", 1e-4), (".5s", 0.5)],
)
def test_durations_are_read(text, seconds):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "5 s x", "1..5s", "nan", "inf", "1e3s", "5s,3"])
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(UnitError, match="is not a duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(("text", "share"), [("0.1%", 0.001), ("0.001", 0.001), ("100%", 1), ("0", 0), ("97 %", 0.97)])
def test_shares_are_read(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "101%", "1.01", "-1%", "a", "1%%"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UnitError):
        parse_share(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for read in (parse_duration_s, parse_share):
        with contextlib.suppress(UnitError):
            assert read(text) >= 0


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345, "12,345")]
)
def test_milliseconds_have_three_digits(value, text):
    assert format_ms(value) == text


def test_durations_and_shares_are_written_for_people():
    assert [format_duration(s) for s in (0.5, 45, 60, 125, 3600)] == ["0.5 s", "45 s", "1 min", "2 min 5 s", "1 h 0 min"]
    assert [format_share(s) for s in (0.0005, 0.05, 0.5, 1.0)] == ["0.05 %", "5 %", "50.0 %", "100.0 %"]
