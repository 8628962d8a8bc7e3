"""Description: counts, dispersion and repeats against plain counting and against theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload import description, timetable
from chatload.chat_log import Histogram


def played(blocks, end_s: float) -> np.ndarray:
    times_s = np.concatenate(list(timetable.until(blocks, end_s)))
    return times_s - times_s[0]


@settings(max_examples=60)
@given(st.lists(st.floats(0, 200), min_size=3, max_size=300), st.sampled_from([1, 5, 10]))
def test_dispersion_is_variance_over_mean_of_the_counts_in_whole_windows(moments, window_s):
    offsets_s = np.sort(moments) - min(moments)
    windows = int(offsets_s[-1] // window_s)
    found = description.dispersion(offsets_s, float(offsets_s[-1]), window_s)
    if windows < description.LEAST_WINDOWS:
        assert found is None
        return
    counts = [int(((offsets_s >= n * window_s) & (offsets_s < (n + 1) * window_s)).sum()) for n in range(windows)]
    assert found == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))


def test_independent_customers_have_one_for_everything():
    found = description.traffic(played(timetable.gamma(20.0, 1.0, timetable.seed(1)), 20_000.0))
    assert found.rate == pytest.approx(20, rel=0.01)
    assert found.burstiness.values == pytest.approx(
        {"cv": 1, "dispersion 1s": 1, "dispersion 10s": 1, "dispersion 60s": 1, "dispersion 600s": 1}, rel=0.3
    )
    assert found.burstiness.cv == pytest.approx(1, rel=0.01)
    assert found.rates == pytest.approx(20, rel=0.2)
    assert found.peak_hour == pytest.approx(72_000, rel=0.02)


def test_rate_over_time_and_the_busiest_minute_are_counted():
    offsets_s = np.concatenate([np.arange(0, 600, 10.0), np.arange(600, 660, 0.5), np.arange(660, 1201, 10.0)])
    found = description.traffic(offsets_s)
    assert found.peak_minute == 120
    assert found.peak_hour is None
    assert found.step_s == 30
    assert found.rates[19:23].tolist() == [0.1, 2, 2, 0.1]
    assert sum(found.rates) * 30 == pytest.approx(len(offsets_s), abs=1)


def test_sessions_are_grouped_by_their_mark():
    marks = np.array([7, -3, 7, 7, 9, -3])
    found = description.sessions(marks, np.array([0.0, 1.0, 4.0, 14.0, 20.0, 31.0]))
    assert (found.count, found.turns.mean, found.turns.p50) == (3, 2, 2)
    assert found.think_s.mean == pytest.approx((4 + 10 + 30) / 3)
    assert found.think_s.p50 == 10
    assert found.starts.offsets_s.tolist() == [0, 1, 20]


def test_a_session_that_rests_for_longer_ends():
    found = description.sessions(np.array([7, 7, 9, 7, 7]), np.array([0.0, 5.0, 6.0, 30.0, 40.0]), pause_s=20.0)
    assert (found.count, found.turns.p50) == (3, 2)
    assert found.think_s.mean == 7.5
    assert found.starts.offsets_s.tolist() == [0, 6, 30]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.booleans())
def test_sessions_hold_every_row_once(marks, timed):
    offsets_s = np.arange(len(marks), dtype=float) if timed else None
    found = description.sessions(np.array(marks), offsets_s)
    assert found.count == len(set(marks))
    assert found.turns.mean * found.count == pytest.approx(len(marks))
    assert (found.think_s is None) == (not timed or found.count == len(marks))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80))
def test_repeats_are_rows_whose_text_came_before(marks):
    expected = sum(mark in marks[:n] for n, mark in enumerate(marks)) / len(marks)
    found = description.repeats(np.array(marks))
    assert found.share == pytest.approx(expected)
    assert found.recent == found.share


def test_a_repeat_after_a_thousand_rows_is_not_recent():
    marks = np.concatenate([[0, 0], np.arange(1, 1_000), [0, 2, 1]])
    found = description.repeats(marks)
    assert found.share == pytest.approx(4 / len(marks))
    assert found.recent == pytest.approx(3 / len(marks))  # the last one came 1,001 rows before


@given(st.lists(st.integers(0, 90), min_size=1, max_size=50), st.floats(0.01, 1))
def test_histograms_have_the_percentiles_of_what_they_count(sizes, share):
    histogram = Histogram()
    for size in sizes:
        histogram.add([size])
    assert histogram.total == len(sizes)
    assert histogram.mean == pytest.approx(np.mean(sizes))
    assert histogram.percentile(share) == np.quantile(sizes, share, method="inverted_cdf")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=50))
def test_length_bands_share_out_every_text(words):
    histogram = Histogram()
    histogram.add(words)
    bands = description.length_bands(histogram)
    assert sum(bands.values()) == pytest.approx(1)
    for band, share in bands.items():
        low, _, high = band.partition("-")
        assert share == pytest.approx(sum(int(low) <= n <= int(high or 99) for n in words) / len(words))
