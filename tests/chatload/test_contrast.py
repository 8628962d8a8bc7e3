from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import contrast
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED

NEVER = Estimate(math.inf, math.inf, math.inf)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, middle, high = sorted(draw(st.lists(st.floats(1e-3, 1e6), min_size=3, max_size=3)))
    return Estimate(middle, low, high)


@given(estimates(), estimates())
def test_a_ratio_lies_in_its_interval_and_turns_round_with_its_sides(a, b):
    forth, back = contrast.ratio(a, b), contrast.ratio(b, a)
    assert forth.value == pytest.approx(b.value / a.value)
    assert forth.low <= forth.value * (1 + 1e-9)
    assert forth.value <= forth.high * (1 + 1e-9)
    assert (forth.low, forth.high) == (pytest.approx(1 / back.high), pytest.approx(1 / back.low))


@given(estimates(), estimates(), st.floats(0.01, 100))
def test_a_ratio_does_not_know_units(a, b, unit):
    scaled = [Estimate(*(part * unit for part in (x.value, x.low, x.high))) for x in (a, b)]
    plain, other = contrast.ratio(a, b), contrast.ratio(*scaled)
    assert (other.low, other.value, other.high) == (
        pytest.approx(plain.low, rel=1e-6),
        pytest.approx(plain.value, rel=1e-6),
        pytest.approx(plain.high, rel=1e-6),
    )


def test_two_equal_symmetric_intervals_combine_as_standard_errors_do():
    # 3 and 4 make 5, by hand.
    assert contrast.difference(Estimate(10, 7, 13), Estimate(20, 16, 24)) == Estimate(10, 5, 15)


def test_a_side_that_never_answered_is_infinitely_slow_for_sure():
    assert contrast.ratio(Estimate(10, 9, 11), NEVER) == NEVER
    assert contrast.ratio(NEVER, Estimate(10, 9, 11)) == Estimate(0, 0, 0)


def test_what_is_infinite_on_both_sides_is_not_compared():
    assert contrast.ratio(NEVER, NEVER) == NOT_CARRIED
    assert contrast.paired_ratio(np.array([1, math.inf]), np.array([1, math.inf]), 0.95) == NOT_CARRIED


def test_an_open_end_leaves_the_ratio_open_on_that_side_only():
    found = contrast.ratio(Estimate(10, 9, 11), Estimate(20, 18, math.inf))
    assert found.high == math.inf
    assert 1 < found.low < 2
    assert contrast.ratio(Estimate(10, 9, math.inf), Estimate(20, 18, 22)).low == 0


def test_an_infinite_value_with_a_finite_lower_bound_bounds_only_that_side():
    found = contrast.ratio(Estimate(10, 9, 11), Estimate(math.inf, 22, math.inf))
    assert (found.value, found.low, found.high) == (math.inf, pytest.approx(2), math.inf)


def test_nothing_is_said_of_what_is_not_carried():
    assert contrast.ratio(NOT_CARRIED, Estimate(1, 1, 1)) == NOT_CARRIED
    assert contrast.difference(Estimate(1, 1, 1), NOT_CARRIED) == NOT_CARRIED


def test_paired_values_have_students_interval():
    # Steps 1, 2, 3: mean 2, standard error 1/sqrt(3), t of two degrees of freedom 4.303.
    found = contrast.paired_difference(np.array([0.0, 0, 0]), np.array([1.0, 2, 3]), 0.95)
    assert (found.value, found.low, found.high) == (
        2,
        pytest.approx(2 - 2.4842, abs=1e-3),
        pytest.approx(2 + 2.4842, abs=1e-3),
    )


def test_rounds_differ_without_making_the_ratio_uncertain():
    mood = np.array([1.0, 3, 10, 2])
    found = contrast.paired_ratio(mood, 1.5 * mood, 0.95)
    assert (found.low, found.value, found.high) == (pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5))
    grained = contrast.paired_ratio(mood, 1.5 * mood, 0.95, grain=0.01)
    assert (grained.low, grained.high) == (pytest.approx(1.5 * math.exp(-0.01)), pytest.approx(1.5 * math.exp(0.01)))


def test_a_side_that_fails_in_one_round_leaves_the_ratio_open():
    fine = np.array([1.0, 1, 1])
    some = contrast.paired_ratio(fine, np.array([1, math.inf, 1]), 0.95)
    assert (some.low, some.high) == (0, math.inf)


@given(st.floats(0.01, 1), st.floats(0.01, 0.5))
def test_half_the_interval_takes_four_times_the_samples(half, margin):
    assert contrast.needed_factor(half, margin, 0.95) == pytest.approx(4 * contrast.needed_factor(half / 2, margin, 0.95))


def test_an_interval_as_wide_as_the_margin_takes_twice_the_samples():
    # ((1.960 + 0.842) / 1.960) ** 2, the usual sample size formula at 80 % power.
    assert contrast.needed_factor(0.05, 0.05, 0.95) == pytest.approx(2.043, abs=0.001)


def test_rounds_needed_fall_with_the_margin_and_end_somewhere():
    needed = [contrast.needed_rounds(0.1, 5, margin, 0.95) for margin in (0.02, 0.05, 0.2)]
    assert needed == sorted(needed, reverse=True)
    assert contrast.needed_rounds(10, 5, 0.001, 0.95) is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=40), st.floats(1, 100))
def test_a_ratio_of_rates_lies_in_its_interval_and_turns_round_with_its_sides(pairs, seconds):
    a, b = (np.array(counts) for counts in zip(*pairs, strict=True))
    forth = contrast.rate_ratio([a], [b], (seconds, seconds), 0.95)
    back = contrast.rate_ratio([b], [a], (seconds, seconds), 0.95)
    if not a.sum() or not b.sum():
        assert forth == NOT_CARRIED or forth.low == 0 or forth.high == math.inf
        return
    assert forth.low < forth.value < forth.high
    assert forth.value == pytest.approx(b.sum() / a.sum())
    assert back.value == pytest.approx(1 / forth.value)


def test_the_same_plan_is_no_uncertainty_and_nothing_served_is_worse_than_something():
    day = np.array([5, 50, 500, 50, 5])
    same = contrast.rate_ratio([day], [day], (10, 10), 0.95)
    assert (same.low, same.high) == (pytest.approx(math.exp(-1 / 610)), pytest.approx(math.exp(1 / 610)))
    none = contrast.rate_ratio([day], [0 * day], (10, 10), 0.95)
    assert (none.value, none.low) == (0, 0)
    assert none.high < 0.01
