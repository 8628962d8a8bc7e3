"""Quantiles against those of scipy.stats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chatload import quantiles

SHARE = st.sampled_from([1e-6, 0.0005, 0.01, 0.025, 0.2, 0.5, 0.8, 0.975, 0.99, 0.9995, 1 - 1e-6])
COUNT = st.one_of(st.integers(1, 60), st.integers(1, 10**7))


@given(SHARE, COUNT)
def test_quantiles_are_those_of_scipy(share, freedom):
    assert quantiles.normal(share) == pytest.approx(stats.norm.ppf(share), rel=1e-9, abs=1e-12)
    assert quantiles.student(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-6, abs=1e-9)
    assert quantiles.chi_squared(share, freedom) == pytest.approx(stats.chi2.ppf(share, freedom), rel=1e-9)


@given(SHARE, st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_the_beta_distribution_s_are_too(share, a, b):
    assert quantiles.beta(share, a, b) == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-6, abs=1e-12)


@given(SHARE, COUNT, st.one_of(st.sampled_from([0.5, 0.9, 0.99, 0.9999]), st.floats(0.001, 0.999)))
def test_no_smaller_number_of_successes_has_the_share(share, trials, chance):
    found = quantiles.binomial(share, trials, chance)
    assert stats.binom.cdf(found, trials, chance) >= share * (1 - 1e-9)
    assert found == 0 or stats.binom.cdf(found - 1, trials, chance) < share * (1 + 1e-9)
