from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.wander import SCALES_S, STEADY, Wander, fit


def moments_s(count: int, rate: float = 50.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).exponential(1 / rate, count).cumsum()


@given(st.lists(st.floats(0, 0.05), min_size=len(SCALES_S), max_size=len(SCALES_S)), st.integers(0, 50), st.integers(0, 9))
def test_there_is_a_factor_above_zero_for_each_moment(variances, count, seed):
    factors = Wander(tuple(variances)).factors(moments_s(count), np.random.default_rng(seed))
    assert len(factors) == count
    assert (factors > 0).all()


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
    generator = np.random.default_rng(3)
    strays = np.log(truth.factors(at_s, generator)) + 0.2 * generator.standard_normal(len(at_s))
    found = fit(at_s, strays)
    assert found.variance == pytest.approx(truth.variance, rel=0.3)
    assert found.variances[1:3] == (pytest.approx(0.01, rel=0.35), pytest.approx(0.006, rel=0.35))


def test_noise_does_not_wander():
    laws = [np.random.default_rng(seed).standard_normal(3_000) for seed in range(10)]
    laws += [np.log(np.random.default_rng(seed).exponential(size=3_000)) for seed in range(10)]
    assert sum(fit(moments_s(3_000, seed=seed), law) != STEADY for seed, law in enumerate(laws)) <= 1


def test_what_never_strays_or_is_too_little_is_steady():
    assert fit(moments_s(1_000), np.ones(1_000)) == STEADY
    assert fit(moments_s(50), np.repeat([0.0, 1.0], 25)) == STEADY
