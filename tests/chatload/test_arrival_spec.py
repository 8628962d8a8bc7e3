from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import arrival_spec, arrivals


def test_every_steered_process_exists_and_every_example_is_read():
    assert set(arrival_spec.STEERED) == set(arrivals.PROCESSES)
    found = [arrival_spec.parse(example.strip()) for example in arrival_spec.EXAMPLES.split(";")]
    assert [spec.name for spec in found if not spec.dealt] == ["poisson", "constant"]
    assert [spec.name for spec in found if not spec.stationary] == ["onoff", "profile", "trace"]


def test_keys_have_units_and_defaults():
    spec = arrival_spec.parse("trace:file=a.csv, speed=24,start=1h")
    assert spec.texts == {"file": "a.csv", "column": ""}
    assert spec.numbers == {"speed": 24, "scale": 1, "start": 3600, "end": math.inf}
    assert arrival_spec.parse("onoff").numbers == {"peak": 5, "on": 10, "off": 50}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weibull", "--arrivals 'weibull': choose one of poisson, constant, gamma, onoff, profile, trace; for example"),
        ("poisson:cv=2", "poisson knows no 'cv'; it takes nothing"),
        ("gamma:burst=2", "gamma knows no 'burst'; it takes cv"),
        ("gamma:cv", "'cv' is not a key=value of its own"),
        ("gamma:cv=2,cv=3", "'cv=3' is not a key=value of its own"),
        ("gamma:cv=0", "cv: '0' is not a number above 0"),
        ("gamma:cv=nan", "cv: 'nan' is not a number above 0"),
        ("onoff:on=soon", "on: 'soon' is not a duration"),
        ("onoff:on=0s", "on: '0s': write a time above 0"),
        ("onoff:peak=7", "peak is at most 6 here"),
        ("onoff:peak=0.5", "write a peak of at least 1"),
        ("trace", "name the file"),
        ("trace:file=a.csv,start=9s,end=8s", "the window ends before it starts"),
    ],
)
def test_a_bad_spec_is_refused_in_one_line(text, message):
    with pytest.raises(arrivals.ArrivalsError, match=re.escape(message)) as raised:
        arrival_spec.parse(text)
    assert "\n" not in str(raised.value)


@given(st.text(alphabet=st.sampled_from("gamonfprile:=,.0123s ")))
def test_any_text_is_read_or_refused(text):
    try:
        spec = arrival_spec.parse(text)
    except arrivals.ArrivalsError:
        return
    assert all(number >= 0 for number in spec.numbers.values())
