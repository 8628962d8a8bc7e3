from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import queueing

LOADS = st.floats(0.05, 0.95)
WORKERS = st.integers(1, 64)


def test_erlang_c_is_that_of_the_tables():
    # Two erlangs offered to three servers: 4/9 wait. One server: as many as are busy.
    assert queueing.erlang_c(2.0, 1.0, 3) == pytest.approx(4 / 9)
    assert queueing.erlang_c(70.0, 0.01, 1) == pytest.approx(0.7)


@given(LOADS, WORKERS)
def test_a_closed_form_scales_with_the_unit_of_time(load, workers):
    slow = queueing.mmk_mean_wait_s(load * workers, 1.0, workers)
    assert queueing.mmk_mean_wait_s(load * workers * 1e3, 1e-3, workers) == pytest.approx(slow / 1e3)


@given(LOADS)
def test_one_exponential_server_is_the_same_by_every_formula(load):
    mean_wait_s = load / (1 - load)
    assert queueing.mmk_mean_wait_s(load, 1.0, 1) == pytest.approx(mean_wait_s)
    assert queueing.mg1_mean_wait_s(load, 1.0, 1.0) == pytest.approx(mean_wait_s)
    assert queueing.mm1_latency_percentile_s(load, 1.0, 1 - math.exp(-1)) == pytest.approx(mean_wait_s + 1)


@given(LOADS, st.floats(0, 20))
def test_allen_cunneen_is_exact_for_one_server_under_poisson_arrivals(load, variation):
    exact = queueing.mg1_mean_wait_s(load, 1.0, variation)
    assert queueing.allen_cunneen_mean_wait_s(load, 1.0, 1, 1.0, variation) == pytest.approx(exact)


@given(LOADS, WORKERS, st.floats(0.5, 0.9999))
def test_as_many_wait_longer_than_a_percentile_as_it_says(load, workers, share):
    rate = load * workers
    wait_s = queueing.mmk_wait_percentile_s(rate, 1.0, workers, share)
    longer = queueing.erlang_c(rate, 1.0, workers) * math.exp(-(workers - rate) * wait_s)
    assert longer == pytest.approx(1 - share) if wait_s > 0 else longer <= 1 - share


@given(LOADS, st.integers(1, 8))
def test_a_queue_with_room_enough_refuses_nobody_and_one_without_all_too_many(load, workers):
    rate = load * workers
    assert queueing.mmk_refused_share(rate, 1.0, workers, 2_000) < 1e-9
    # Far above full load, what is refused is what is too much.
    assert queueing.mmk_refused_share(workers * 4, 1.0, workers, 50) == pytest.approx(0.75)


def test_full_load_has_no_steady_state():
    with pytest.raises(queueing.QueueingError, match="too much for 4 worker"):
        queueing.erlang_c(400.0, 0.01, 4)


def test_fixed_service_times_wait_as_a_simulated_queue_does():
    """Lindley's recursion over two million customers, in service times."""
    draw = np.random.default_rng(1)
    for load in (0.3, 0.7, 0.9):
        steps = np.concatenate([[0], np.cumsum(1 - draw.exponential(1 / load, 2_000_000))])
        latency = steps - np.minimum.accumulate(steps) + 1
        for share in (0.5, 0.9, 0.99):
            theory = queueing.md1_latency_percentile_s(load, 1.0, share)
            assert theory == pytest.approx(np.quantile(latency, share), rel=0.05)


@given(LOADS, st.floats(0.5, 0.999))
def test_fixed_service_times_wait_less_than_exponential_ones_and_at_least_a_service(load, share):
    fixed = queueing.md1_latency_percentile_s(load, 1.0, share)
    assert fixed >= 1.0
    assert load < 0.2 or share < 0.9 or fixed < queueing.mm1_latency_percentile_s(load, 1.0, share)
