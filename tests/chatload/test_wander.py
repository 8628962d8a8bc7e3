from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.wander import SCALES_S, STEADY, Course, Wander, fit


def moments_s(count: int, rate: float = 50.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(1 / rate, count).cumsum()


def noisy(truth: Wander, at_s: np.ndarray, noise: float) -> np.ndarray:
    """The strays of such a machine's requests, which differ by noise as well."""
    generator = np.random.default_rng(3)
    return np.log(truth.factors(at_s, generator)) + noise * generator.standard_normal(len(at_s))


COURSES = [None, Course(0.25, (0.0, 0.1, 0.5)), Course(30.0, (0.2, -0.1))]


@given(
    st.lists(st.floats(0, 0.05), min_size=len(SCALES_S), max_size=len(SCALES_S)),
    st.sampled_from(COURSES),
    st.integers(0, 50),
    st.sampled_from([0.0, 1e6]),
    st.integers(0, 9),
)
def test_there_is_a_factor_above_zero_for_each_moment(variances, course, count, pause_s, seed):
    at_s = moments_s(count)
    at_s[count // 2 :] += pause_s
    factors = Wander(tuple(variances), course).factors(at_s, np.random.default_rng(seed))
    assert len(factors) == count
    assert (factors > 0).all()


def test_another_rate_is_the_same_chance():
    wandering = Wander((0.01, 0.0, 0.0, 0.0), Course(0.25, 1_000 * (0.0,)))
    at_s = moments_s(20_000, rate=1.0)
    slower, faster = (wandering.factors(at_s / rate, np.random.default_rng(5)) for rate in (100, 120))
    assert np.corrcoef(slower, faster)[0, 1] > 0.95


def test_a_steady_pace_does_not_change():
    assert (STEADY.factors(moments_s(100), np.random.default_rng(1)) == 1).all()


@pytest.mark.parametrize("number", range(len(SCALES_S)))
def test_each_scale_fades_at_its_own_time_about_a_mean_of_one(number):
    scale_s, variances = SCALES_S[number], [0.0] * len(SCALES_S)
    variances[number] = 0.04
    at_s = np.arange(200_000) * scale_s / 4
    factors = Wander(tuple(variances)).factors(at_s, np.random.default_rng(2))
    assert factors.mean() == pytest.approx(1, abs=0.01)
    strays = np.log(factors)
    assert strays.var() == pytest.approx(0.04, rel=0.05)
    for lag in (1, 4, 8):
        assert np.corrcoef(strays[:-lag], strays[lag:])[0, 1] == pytest.approx(np.exp(-lag / 4), abs=0.03)


def test_what_wanders_is_found_beside_noise():
    truth = Wander((0.0, 0.01, 0.006, 0.0))
    at_s = moments_s(20_000)
    strays = noisy(truth, at_s, 0.2)
    found = fit(at_s, strays)
    assert found.variance == pytest.approx(truth.variance, rel=0.3)
    assert found.variances[1:3] == (pytest.approx(0.01, rel=0.35), pytest.approx(0.006, rel=0.35))


def bad_moments(at_s: np.ndarray, seed: int = 5) -> np.ndarray:
    """Which moments lie in one of some stretches of a second: 5 % of the time."""
    starts = np.random.default_rng(seed).uniform(0, at_s[-1] - 1, round(at_s[-1] / 20))
    return np.any([(at_s >= start) & (at_s < start + 1) for start in starts], axis=0)


def test_bad_moments_come_again_as_bad_as_often_and_as_long():
    at_s = moments_s(24_000, rate=80)
    bad = bad_moments(at_s)
    strays = 0.4 * bad + 0.1 * np.random.default_rng(4).standard_normal(len(at_s))
    found = fit(at_s, strays)
    later_s = moments_s(300_000, rate=300, seed=6)
    factors = found.factors(later_s, np.random.default_rng(8))
    assert factors.mean() == pytest.approx(1, abs=0.03)
    usual = np.median(factors)
    again = factors > 1.2 * usual
    assert again.mean() == pytest.approx(bad.mean(), rel=0.35)
    assert np.median(factors[again]) / usual == pytest.approx(np.exp(0.4), rel=0.1)
    half_a_second = 150
    assert 0.35 < again[half_a_second:][again[:-half_a_second]].mean() < 0.75  # half of a stretch is left, on average
    gaussian = Wander(found.variances).factors(later_s, np.random.default_rng(8))
    assert (gaussian > np.exp(0.3) * np.median(gaussian)).mean() < 0.2 * (factors > np.exp(0.3) * usual).mean()


def test_a_course_is_as_wide_as_the_wander_from_part_to_part():
    truth = Wander((0.0, 0.0, 0.01, 0.0))
    at_s = moments_s(40_000)
    strays = noisy(truth, at_s, 0.2)
    found = fit(at_s, strays)
    assert found.course is not None
    assert found.course.part_s == 0.25
    assert found.course.variance == pytest.approx(0.01 * 0.92, rel=0.2)  # what a mean over a quarter of its time keeps
    assert np.log(found.factors(at_s, np.random.default_rng(1))).var() == pytest.approx(found.variance, rel=0.25)


def test_a_part_of_few_requests_varies_as_one_of_many_does():
    rates = np.where(np.arange(30_000) // 900 % 2, 200, 30)  # of the same number of requests each
    at_s = np.random.default_rng(1).exponential(1 / rates).cumsum()
    strays = noisy(Wander((0.0, 0.0, 0.01, 0.0)), at_s, 0.2)
    course = fit(at_s, strays).course
    parts, counts = np.unique(np.floor((at_s - at_s[0]) / course.part_s), return_counts=True)
    assert len(parts) == len(course.strays)
    many = counts > 20
    assert np.var(np.array(course.strays)[many]) == pytest.approx(np.var(np.array(course.strays)[~many]), rel=0.35)


def test_the_time_between_two_windows_makes_no_longer_parts():
    at_s = moments_s(20_000)
    at_s += 1_000 * np.floor(at_s / 100)
    strays = noisy(Wander((0.0, 0.0, 0.01, 0.0)), at_s, 0.1)
    course = fit(at_s, strays).course
    assert course.part_s == 0.25
    assert len(course.strays) == pytest.approx(4 * 400, rel=0.02)


def test_a_course_of_few_requests_has_longer_parts():
    at_s = moments_s(2_000, rate=5)
    strays = noisy(Wander((0.0, 0.0, 0.0, 0.04)), at_s, 0.1)
    found = fit(at_s, strays)
    assert found.course is not None
    assert found.course.part_s == pytest.approx(2, rel=0.1)


def test_a_calibration_of_too_few_parts_has_no_course():
    at_s = moments_s(400)
    strays = np.log(Wander((0.0, 0.0, 0.04, 0.0)).factors(at_s, np.random.default_rng(3)))
    found = fit(at_s, strays)
    assert found.variance > 0
    assert found.course is None
    assert (found.factors(at_s, np.random.default_rng(1)) > 0).all()


def test_noise_does_not_wander():
    laws = [np.random.default_rng(seed).standard_normal(3_000) for seed in range(10)]
    laws += [np.log(np.random.default_rng(seed).exponential(size=3_000)) for seed in range(10)]
    assert sum(fit(moments_s(3_000, seed=seed), law) != STEADY for seed, law in enumerate(laws)) <= 1


def test_what_never_strays_or_is_too_little_is_steady():
    assert fit(moments_s(1_000), np.ones(1_000)) == STEADY
    assert fit(moments_s(50), np.repeat([0.0, 1.0], 25)) == STEADY
