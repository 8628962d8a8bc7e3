"""Timetables: sorted, seeded, of the stated mean and dispersion, and dealt so that the parts are the whole."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chatload import timetable

WEIGHTS = [1.0, 0.0, 4.0, 3.0]
TRACE_S = np.sort(np.random.default_rng(5).uniform(0, 1_000, 3_000))
MAKERS = {
    "gamma": lambda rate, seed: timetable.gamma(rate, 3.0, timetable.seed(seed)),
    "onoff": lambda rate, seed: timetable.onoff(rate, 4.0, 1.0, 5.0, timetable.seed(seed)),
    "profile": lambda rate, seed: timetable.profile(rate, WEIGHTS, 8.0, 3.0, timetable.seed(seed)),
}
any_process = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def played(blocks, end_s: float) -> np.ndarray:
    return np.concatenate(list(timetable.until(blocks, end_s)))


def counts(times_s: np.ndarray, window_s: float, end_s: float) -> np.ndarray:
    return np.histogram(times_s, bins=np.arange(0, end_s + window_s / 2, window_s))[0]


@any_process
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), rate=st.floats(0.1, 1_000))
def test_a_timetable_is_sorted_and_the_same_seed_gives_the_same_one(make, seed, rate):
    first, second = (list(itertools.islice(make(rate, seed), 8)) for _ in range(2))
    times_s = np.concatenate(first)
    assert np.array_equal(times_s, np.concatenate(second))
    assert (np.diff(times_s) >= 0).all()
    assert (times_s >= 0).all()
    assert all(len(block) <= timetable.BLOCK for block in first)


@any_process
def test_seeds_differ(make):
    assert not np.array_equal(played(make(50.0, 1), 8.0), played(make(50.0, 2), 8.0))


@any_process
def test_the_mean_rate_is_the_one_asked_for(make):
    assert len(played(make(10.0, 1), 8_000.0)) == pytest.approx(80_000, rel=0.05)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gamma_gaps_have_their_coefficient_of_variation_and_counts_its_square(cv):
    times_s = played(timetable.gamma(20.0, cv, timetable.seed(1)), 20_000.0)
    gaps_s = np.diff(times_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.03)
    # At points that are wide beside the rounding of a sum of gaps, which swallows the smallest of a bursty process.
    shares = np.array([0.4, 0.6, 0.8, 0.9, 0.99])
    points_s = stats.gamma.ppf(shares, 1 / cv**2, scale=cv**2 / 20)
    assert np.searchsorted(np.sort(gaps_s), points_s) / len(gaps_s) == pytest.approx(shares, abs=0.004)
    per_window = counts(times_s, 20.0, 20_000.0)
    assert per_window.var() / per_window.mean() == pytest.approx(cv**2, rel=0.2)


def test_bursts_have_the_dispersion_that_theory_gives_them():
    rate, peak, on_s, off_s, window_s, end_s = 20.0, 4.0, 1.0, 5.0, 30.0, 60_000.0
    times_s = played(timetable.onoff(rate, peak, on_s, off_s, timetable.seed(1)), end_s)
    share, speed = on_s / (on_s + off_s), 1 / on_s + 1 / off_s
    apart = rate * (peak - timetable.calm_share(peak, on_s, off_s))
    mixing = 1 - (1 - math.exp(-speed * window_s)) / (speed * window_s)
    index = 1 + 2 * share * (1 - share) * apart**2 / (speed * rate) * mixing
    per_window = counts(times_s, window_s, end_s)
    assert index > 20
    assert per_window.var() / per_window.mean() == pytest.approx(index, rel=0.15)


def test_bursts_may_have_silence_between_them():
    assert timetable.calm_share(6.0, 1.0, 5.0) == pytest.approx(0)
    times_s = played(timetable.onoff(100.0, 6.0, 1.0, 5.0, timetable.seed(3)), 600.0)
    assert np.diff(times_s).max() > 2


def test_a_profile_follows_its_weights_and_repeats_from_where_it_starts():
    times_s = played(timetable.profile(50.0, WEIGHTS, 8.0, 3.0, timetable.seed(1)), 8_000.0)
    hours = np.histogram((times_s + 3.0) % 8.0, bins=[0, 2, 4, 6, 8])[0] / 1_000
    assert hours == pytest.approx([50.0, 0, 200.0, 150.0], rel=0.02)


def test_within_a_part_a_profile_is_poisson():
    times_s = played(timetable.profile(50.0, WEIGHTS, 4_000.0, 2_000.0, timetable.seed(1)), 1_000.0)
    assert stats.kstest(np.diff(times_s), "expon", args=(0, 1 / 100)).pvalue > 0.001


def replay(seed: int = 1, **keys: float) -> np.ndarray:
    given_keys = {"speed": 1.0, "scale": 1.0, "start_s": 0.0, "end_s": math.inf} | keys
    return np.concatenate(
        [*timetable.trace(np.array_split(TRACE_S, 7), **given_keys, seed=timetable.seed(seed)), np.empty(0)]
    )


def test_a_trace_is_replayed_exactly_and_its_window_from_its_start():
    assert np.array_equal(replay(), TRACE_S)
    window = TRACE_S[(TRACE_S >= 100) & (TRACE_S < 400)]
    assert replay(start_s=100.0, end_s=400.0, speed=10.0) == pytest.approx((window - 100) / 10, abs=1e-12)


@settings(max_examples=30)
@given(scale=st.floats(0.1, 4), seed=st.integers(0, 1_000))
def test_a_scaled_trace_has_its_rate_its_order_and_its_shape(scale, seed):
    found = replay(scale=scale, seed=seed)
    assert (np.diff(found) >= 0).all()
    assert abs(len(found) - scale * len(TRACE_S)) < 5 * math.sqrt(0.25 * len(TRACE_S)) + 1
    assert np.array_equal(found, replay(scale=scale, seed=seed))
    assert stats.ks_2samp(found, TRACE_S).statistic < 0.12
    assert (np.isin(TRACE_S, found).all()) if scale >= 1 else np.isin(found, TRACE_S).all()


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 5), st.data())
def test_the_parts_are_the_whole_and_no_arrival_is_dealt_twice(lengths, parts, data):
    edges = np.cumsum([0, *lengths])
    whole = np.arange(edges[-1], dtype=float)
    blocks = [whole[a:b] for a, b in itertools.pairwise(edges)]
    dealt = [np.concatenate([*timetable.deal(blocks, part, parts), np.empty(0)]) for part in range(parts)]
    assert np.array_equal(np.sort(np.concatenate(dealt)), whole)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    for part, own in enumerate(dealt):
        assert timetable.dealt_between(first, last, part, parts) == np.count_nonzero((own >= first) & (own < last))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=4))
def test_arrivals_are_counted_before_each_moment(moments_s):
    blocks = np.array_split(TRACE_S / 10, 9)
    expected = [np.count_nonzero(moment_s > TRACE_S / 10) for moment_s in moments_s]
    assert timetable.count_before(blocks, moments_s) == expected


def test_a_timetable_is_played_to_its_end_whatever_the_streams():
    played_table = timetable.Timetable([np.array([]), np.array([1.0, 2.0]), np.array([2.5])])
    played_table.set_rate(1_000.0, 0.0)
    assert [played_table.advance() for _ in range(3)] == [1.0, 2.0, 2.5]
    assert played_table.due_s == math.inf
    assert timetable.Timetable([]).due_s == math.inf
