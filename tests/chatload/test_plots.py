"""Ticks: wherever the values lie, there are some to read them by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import plots


@given(low=st.floats(1e-3, 1e4), ratio=st.floats(1.01, 1e6))
def test_two_ticks_or_more_lie_between_two_values(low, ratio):
    high = low * ratio
    inside = [tick for tick in plots.ticks_between(low, high) if low <= tick <= high]
    assert 2 <= len(inside) <= 12
    assert inside == sorted(set(inside))


@given(low=st.floats(1e-3, 1e4), ratio=st.floats(1.01, 4.9))
def test_a_tick_is_labelled_as_the_number_that_it_is(low, ratio):
    for tick in plots.ticks_between(low, low * ratio):
        assert float(f"{tick:g}") == pytest.approx(tick, rel=1e-5)
        assert math.log10(tick) >= math.log10(low) - 1e-12


def test_one_value_is_its_own_tick():
    assert plots.ticks_between(5.0, 5.0) == [5.0]
