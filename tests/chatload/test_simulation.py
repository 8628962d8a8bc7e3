from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import queueing
from chatload.haste import loads
from chatload.simulation import ROUTINGS, Instance, Service, fleet_latencies_s, latencies_s
from chatload.wander import STEADY, Wander

ROOM = 100_000
COUNT = 200_000
SERVICE_S = 0.01


def draw(rate: float, count: int = COUNT, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Poisson arrivals, and exponential service times of mean SERVICE_S."""
    generator = np.random.default_rng(seed)
    return generator.exponential(1 / rate, count).cumsum(), generator.exponential(SERVICE_S, count)


def even(service_s: np.ndarray) -> Service:
    """Service times that do not depend on a worker's rest."""
    return Service(service_s[np.newaxis])


def endless(workers: int) -> Instance:
    return Instance(workers, ROOM, math.inf)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.5), (1, 0.8), (4, 0.8), (16, 0.9)])
def test_exponential_services_wait_as_erlang_says(workers, load):
    rate = load * workers / SERVICE_S
    arrivals_s, service_s = draw(rate)
    wait_s = latencies_s(arrivals_s, even(service_s), endless(workers)) - service_s
    assert wait_s.mean() == pytest.approx(queueing.mmk_mean_wait_s(rate, SERVICE_S, workers), rel=0.1)
    assert np.mean(wait_s > 1e-9) == pytest.approx(queueing.erlang_c(rate, SERVICE_S, workers), rel=0.05)
    expected_s = queueing.mmk_wait_percentile_s(rate, SERVICE_S, workers, 0.99)
    assert np.quantile(wait_s, 0.99) == pytest.approx(expected_s, rel=0.15)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_one_worker_waits_as_pollaczek_and_khinchine_say(sigma):
    rate = 0.7 / SERVICE_S
    arrivals_s, _ = draw(rate)
    service_s = SERVICE_S * np.random.default_rng(2).lognormal(-(sigma**2) / 2, sigma, COUNT)
    wait_s = latencies_s(arrivals_s, even(service_s), endless(1)) - service_s
    assert wait_s.mean() == pytest.approx(queueing.mg1_mean_wait_s(rate, SERVICE_S, math.exp(sigma**2) - 1), rel=0.07)


def test_a_worker_that_is_slower_after_a_rest_delays_as_the_formula_says():
    rate, slower_s = 0.6 / SERVICE_S, 0.005
    arrivals_s, service_s = draw(rate)
    service = Service(np.array([service_s, service_s, service_s + slower_s]), (0.0,))
    mean_s = latencies_s(arrivals_s, service, endless(1)).mean()
    assert mean_s == pytest.approx(
        queueing.mg1_mean_wait_s(rate, SERVICE_S, 1.0) + SERVICE_S + setup_s(rate, slower_s), rel=0.05
    )


def setup_s(rate: float, slower_s: float) -> float:
    """What a constant set-up after each rest adds to the mean latency of an M/G/1 queue (Welch 1964)."""
    return (2 * slower_s + rate * slower_s**2) / (2 * (1 + rate * slower_s))


def test_the_time_in_a_worker_depends_on_its_rest_by_hand():
    # After endless rest, queued, after 1 s of rest, after 3 s.
    arrivals_s = np.array([0.0, 1.0, 4.0, 8.0])
    service = Service(np.tile([[9.0], [1.0], [2.0], [3.0]], 4), (0.0, 2.5))
    assert latencies_s(arrivals_s, service, Instance(1, 9, math.inf)) == pytest.approx([3.0, 3.0, 2.0, 2.0])
    assert latencies_s(arrivals_s[[0, 3]], service.of(np.array([0, 3])), Instance(1, 9, math.inf)) == pytest.approx(
        [3.0, 3.0]
    )


def test_a_queue_gets_into_swing_by_hand():
    # With two workers the first two of a queue are the first behind those that found them idle.
    service = Service(np.tile([[1.0], [3.0], [5.0]], 6), (0.0,))
    arrivals_s = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 20.0])
    assert latencies_s(arrivals_s, service, Instance(2, 9, math.inf)) == pytest.approx([5.0, 5.0, 7.0, 7.0, 8.0, 5.0])


def test_allen_cunneen_is_near_for_several_workers_and_even_services():
    rate = 0.9 * 4 / SERVICE_S
    arrivals_s, _ = draw(rate)
    wait_s = latencies_s(arrivals_s, even(np.full(COUNT, SERVICE_S)), endless(4)) - SERVICE_S
    assert wait_s.mean() == pytest.approx(queueing.allen_cunneen_mean_wait_s(rate, SERVICE_S, 4, 1.0, 0.0), rel=0.15)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.9), (1, 1.5), (3, 1.0)])
def test_a_full_queue_refuses_as_many_as_the_formula_says(workers, load):
    rate = load * workers / SERVICE_S
    arrivals_s, service_s = draw(rate)
    latency_s = latencies_s(arrivals_s, even(service_s), Instance(workers, 5, math.inf))
    expected = queueing.mmk_refused_share(rate, SERVICE_S, workers, 5)
    assert np.mean(np.isinf(latency_s)) == pytest.approx(expected, rel=0.05)


def test_a_queue_by_hand():
    # Two may wait. The fourth finds two waiting; the fifth comes when one of them has begun.
    arrivals_s = np.array([0.0, 0.1, 0.2, 0.3, 1.05])
    latency_s = latencies_s(arrivals_s, even(np.ones(5)), Instance(1, 2, math.inf, pass_s=0.5))
    assert latency_s == pytest.approx([1.5, 2.4, 3.3, math.inf, 3.45])


def test_who_gives_up_is_served_all_the_same():
    latency_s = latencies_s(np.array([0.0, 0.1, 3.0]), even(np.array([2.0, 2.0, 1.0])), Instance(1, 9, timeout_s=2.5))
    # The second gave up at 2.6 s but holds the worker until 4 s: the third waits for it.
    assert latency_s == pytest.approx([2.0, math.inf, 2.0])


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 8))
def test_it_agrees_with_a_plain_reading_of_the_rules(gaps_and_services, workers, queue_limit):
    gaps_s, service_s = (np.array(column) for column in zip(*gaps_and_services, strict=True))
    arrivals_s = gaps_s.cumsum()
    latency_s = latencies_s(arrivals_s, even(service_s), Instance(workers, queue_limit, math.inf))
    starts_s: list[float] = []
    ends_s: list[float] = []
    for at_s, for_s, found_s in zip(arrivals_s, service_s, latency_s, strict=True):
        busy_until_s = sorted(end_s for end_s in ends_s if end_s > at_s)
        if len(busy_until_s) < workers:
            start_s = at_s
        elif sum(start_s > at_s for start_s in starts_s) >= queue_limit:
            assert found_s == math.inf
            continue
        else:
            start_s = busy_until_s[-workers]
        starts_s.append(start_s)
        ends_s.append(start_s + for_s)
        assert found_s == pytest.approx(start_s - at_s + for_s)


@pytest.mark.parametrize("routing", ["random", "round-robin", "least-outstanding"])
def test_a_fleet_at_low_load_is_as_fast_as_its_service(routing):
    arrivals_s, service_s = np.arange(100) * 1.0, np.full(100, 0.1)
    generator = np.random.default_rng(1)
    assert fleet_latencies_s(arrivals_s, even(service_s), endless(1), 3, routing, generator) == pytest.approx(service_s)


def test_random_routing_is_as_many_queues_of_one():
    rate = 0.7 * 4 / SERVICE_S
    arrivals_s, service_s = draw(rate)
    latency_s = fleet_latencies_s(arrivals_s, even(service_s), endless(1), 4, "random", np.random.default_rng(2))
    expected_s = queueing.mm1_latency_percentile_s(rate / 4, SERVICE_S, 0.95)
    assert np.quantile(latency_s, 0.95) == pytest.approx(expected_s, rel=0.07)


def test_the_better_the_routing_the_shorter_the_wait():
    # One queue for all (M/M/4) bounds every routing from below; least-outstanding stands between it and random.
    arrivals_s, service_s = draw(0.8 * 4 / SERVICE_S)
    mean_s = {
        routing: fleet_latencies_s(arrivals_s, even(service_s), endless(1), 4, routing, np.random.default_rng(2)).mean()
        for routing in ("random", "round-robin", "least-outstanding")
    }
    shared_s = latencies_s(arrivals_s, even(service_s), endless(4)).mean()
    assert shared_s < mean_s["least-outstanding"] < mean_s["round-robin"] < mean_s["random"]


@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_pace_of_each_instance_wanders_by_itself(routing):
    # One instance that is slow makes its own requests wait; all slow at once would make all wait, and that far more often.
    arrivals_s, service_s = draw(3.2 / SERVICE_S, 100_000)
    slowly = Wander((0.0, 0.0, 0.0, 0.04))

    def p99_s(wandering: Wander, service: Service) -> float:
        def pace(moments_s: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(moments_s)), wandering.factors(moments_s, generator)

        generator = np.random.default_rng(2)
        return np.quantile(fleet_latencies_s(arrivals_s, service, endless(1), 4, routing, generator, pace), 0.99)

    together = even(service_s * slowly.factors(arrivals_s, np.random.default_rng(3)))
    steady_s, apart_s, together_s = p99_s(STEADY, even(service_s)), p99_s(slowly, even(service_s)), p99_s(STEADY, together)
    assert steady_s < apart_s
    if routing == "least-outstanding":
        assert apart_s < together_s


@pytest.mark.parametrize("routing", ROUTINGS)
def test_the_pace_of_each_instance_follows_its_own_load(routing):
    arrivals_s, service_s = draw(2 / SERVICE_S, 20_000)  # four instances at half of their full load
    seen = []

    def pace(moments_s: np.ndarray, _generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        seen.append(loads(moments_s, 1)[1_000:].mean())
        return np.zeros(len(moments_s)), np.ones(len(moments_s))

    fleet_latencies_s(arrivals_s, even(service_s), endless(1), 4, routing, np.random.default_rng(2), pace)
    assert seen == pytest.approx([0.5 / SERVICE_S] * 4, rel=0.1)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("instances", [1, 2])
def test_a_pace_adds_before_it_multiplies_and_nothing_takes_less_than_no_time(routing, instances):
    arrivals_s, service_s = np.arange(6.0), np.array([0.1, 0.1, 0.3, 0.3, 0.2, 0.2])

    def pace(moments_s: np.ndarray, _generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(moments_s), -0.2), np.full(len(moments_s), 3.0)

    generator = np.random.default_rng(1)
    latency_s = fleet_latencies_s(arrivals_s, even(service_s), endless(1), instances, routing, generator, pace)
    assert latency_s == pytest.approx([0, 0, 0.3, 0.3, 0, 0])


def test_a_customer_who_gave_up_no_longer_counts_at_the_balancer():
    # One instance is stuck. Whoever was sent there leaves before the next comes, so that it looks as idle as the other.
    arrivals_s, service_s = np.array([0.0, 0.0, *np.arange(1, 101)]), np.array([1e3, *np.full(101, 0.1)])
    instance = Instance(1, ROOM, timeout_s=0.5)
    latency_s = fleet_latencies_s(arrivals_s, even(service_s), instance, 2, "least-outstanding", np.random.default_rng(1))
    assert 30 < np.isinf(latency_s).sum() < 70
