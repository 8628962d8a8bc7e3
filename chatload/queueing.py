"""Queueing: closed forms of waiting times, which the simulation is held against.

Rates are arrivals per second, times seconds, ``utilisation`` a share of one. All of them speak of a steady state, which
exists below full load only. Sources: Erlang 1917 (delay formula); Kleinrock, Queueing Systems I, 1975, ch. 3 (M/M/k, M/M/k
with a finite queue) and 5 (Pollaczek-Khinchine, what a customer leaves behind); Franx, A simple solution for the M/D/c
waiting time distribution, Operations Research Letters 29, 2001; Allen, Probability, Statistics and Queueing Theory, 2nd ed.
1990, ch. 5 (Allen-Cunneen).
"""

from __future__ import annotations

import itertools
import math


class QueueingError(ValueError):
    """A queue that has no steady state; the message says how much is offered to how many workers."""


def erlang_c(rate: float, service_s: float, workers: int) -> float:
    """The share of arrivals that must wait in an M/M/k queue. Raises QueueingError at full load or above."""
    offered = rate * service_s
    utilisation = _below_full_load(rate, service_s, workers)
    blocked = 1.0
    for k in range(1, workers + 1):  # Erlang B by its recursion, which no factorial overflows
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - utilisation * (1 - blocked))


def mmk_mean_wait_s(rate: float, service_s: float, workers: int) -> float:
    """The mean wait in an M/M/k queue."""
    return erlang_c(rate, service_s, workers) / (workers / service_s - rate)


def mmk_wait_percentile_s(rate: float, service_s: float, workers: int, share: float) -> float:
    """The ``share`` percentile of the wait in an M/M/k queue: who waits does so exponentially; 0 where so many do not."""
    waiting = erlang_c(rate, service_s, workers)
    return max(math.log(waiting / (1 - share)) / (workers / service_s - rate), 0.0)


def mm1_latency_percentile_s(rate: float, service_s: float, share: float) -> float:
    """The ``share`` percentile of wait and service together in an M/M/1 queue, which is exponential."""
    _below_full_load(rate, service_s, 1)
    return -math.log(1 - share) / (1 / service_s - rate)


def md1_latency_percentile_s(rate: float, service_s: float, share: float) -> float:
    """The ``share`` percentile of wait and service together in an M/D/1 queue, to a millionth of the service time."""
    left = _LeftBehind(_below_full_load(rate, service_s, 1))
    low, high = 0.0, 1.0  # in service times
    while left.waits_at_most(high) < share:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if left.waits_at_most(middle) < share else (low, middle)
    return (1 + high) * service_s


class _LeftBehind:
    """How many others an M/D/1 queue's customers leave behind, as cumulated shares; grows as far as it is asked."""

    def __init__(self, load: float) -> None:
        self._load = load
        # Shares of services in which 0, 1, ... arrive; more than sixty never do.
        self._arriving = [math.exp(-load) * load**count / math.factorial(count) for count in range(60)]
        self._shares = [1 - load]

    def waits_at_most(self, wait: float) -> float:
        """The share of customers who wait at most ``wait`` service times (Franx 2001)."""
        services = math.floor(wait) + 1
        while len(self._shares) <= services:
            self._grow()
        cumulated = list(itertools.accumulate(self._shares[: services + 1]))
        arrived = self._load * (services - wait)  # at most one, so later terms vanish
        terms = (cumulated[services - n] * arrived**n / math.factorial(n) for n in range(min(services, 30)))
        return math.exp(-arrived) * sum(terms)

    def _grow(self) -> None:
        """Who leaves n behind found up to n + 1 at the start of the service, and the rest came in it."""
        shares, arriving = self._shares, self._arriving
        last = len(shares) - 1
        reached = sum(shares[last + 1 - n] * arriving[n] for n in range(1, min(last + 1, 60)))
        reached += shares[0] * arriving[last] if last < 60 else 0.0
        shares.append((shares[last] - reached) / arriving[0])


def mmk_refused_share(rate: float, service_s: float, workers: int, queue_limit: int) -> float:
    """The share of arrivals that an M/M/k queue with room for ``queue_limit`` waiting ones refuses; at any load."""
    weight = total = 1.0
    for busy in range(1, workers + queue_limit + 1):
        weight *= rate * service_s / min(busy, workers)
        total += weight
    return weight / total


def mg1_mean_wait_s(rate: float, service_s: float, service_variation: float) -> float:
    """The mean wait in an M/G/1 queue (Pollaczek-Khinchine).

    ``service_variation`` is the squared coefficient of variation of the service time: variance / mean squared.
    """
    utilisation = _below_full_load(rate, service_s, 1)
    return utilisation * service_s * (1 + service_variation) / (2 * (1 - utilisation))


def allen_cunneen_mean_wait_s(
    rate: float, service_s: float, workers: int, arrival_variation: float, service_variation: float
) -> float:
    """The mean wait in a G/G/k queue, approximately: the M/M/k one scaled by the mean squared coefficient of variation.

    Exact for M/M/k and M/G/1.
    """
    return mmk_mean_wait_s(rate, service_s, workers) * (arrival_variation + service_variation) / 2


def _below_full_load(rate: float, service_s: float, workers: int) -> float:
    utilisation = rate * service_s / workers
    if utilisation >= 1:
        raise QueueingError(f"{rate:g}/s of {service_s:g} s each are too much for {workers} worker(s): no steady state")
    return utilisation
