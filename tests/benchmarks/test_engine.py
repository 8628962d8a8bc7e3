"""How the engine's benchmark tells of a search that found nothing."""

from __future__ import annotations

import math

import pytest

from benchmarks import engine


@pytest.mark.parametrize("limit", [1_000, 1_999, 3_000, 64_000])
def test_the_highest_rate_that_holds_is_found_to_five_percent(limit):
    rate = engine.highest(lambda offered: offered <= limit, low=1_000)
    assert rate <= limit < rate * 1.05


def test_where_the_lowest_rate_does_not_hold_there_is_no_highest():
    assert math.isnan(engine.highest(lambda offered: False, low=1_000))


def test_a_search_that_found_nothing_says_where_it_began_and_gives_no_ratio():
    assert engine.reached(math.nan, 8_000) == "below 8,000, where the search begins"
    assert engine.reached(39_739.4, 8_000) == "39,739"
    assert engine.over(64_000, 40_000) == "1.6"
    assert engine.over(math.nan, 40_000) == engine.over(64_000, math.nan) == "not known"
