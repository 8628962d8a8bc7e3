"""Ticks: wherever the values lie, there are some to read them by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatload import plots


@given(low=st.floats(1e-3, 1e4), ratio=st.floats(1.01, 1e6))
@example(low=0.2, ratio=2.5)  # a third of the way is a tenth, or as good as
@example(low=0.3, ratio=2.0)
def test_two_ticks_or_more_lie_between_two_values(low, ratio):
    high = low * ratio
    inside = [tick for tick in plots.ticks_between(low, high) if low <= tick <= high]
    assert 2 <= len(inside) <= 12
    assert inside == sorted(set(inside))


@given(low=st.floats(1e-3, 1e4), ratio=st.floats(1.01, 4.9))
def test_a_tick_is_labelled_as_the_number_that_it_is(low, ratio):
    axis = SimpleNamespace()
    plots.ticks_in_ms(axis, low, low * ratio)
    assert axis.ticker.ticks == list(axis.major_label_overrides)
    for tick, label in axis.major_label_overrides.items():
        assert float(label.replace(",", "")) == pytest.approx(tick, rel=1e-9)


def test_one_value_is_its_own_tick():
    assert plots.ticks_between(5.0, 5.0) == [5.0]
