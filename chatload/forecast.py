"""Forecast: latency and capacity of a fleet, simulated from a calibration.

Every simulated run first draws the calibration's requests anew, then its arrivals and its service times. So the spread over
runs holds what two real runs of that length would differ by, and what the calibration itself leaves uncertain. RUNS is 39
because the smallest and the largest of 39 like runs hold the next one in 95 % of all cases (38 of 40 ranks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from chatload import arrivals, simulation
from chatload.calibration import Calibration
from chatload.objective import Clause
from chatload.statistics import PERCENTILES, needed_samples, percentile_name

RUNS = 39
FIRST_SHARE = 0.1  # of the arrivals of a run: they find queues still empty, and are left out as a warm-up is
MOST_ARRIVALS = 50_000_000
_SHARES = {percentile_name(share): share for share in PERCENTILES}
_PRECISION = 0.005  # of the full load: how closely the capacity is sought
_CAPACITY_ARRIVALS = 10_000  # of a run at each rate tried, or fewer where fewer are asked for


class ForecastError(ValueError):
    """A forecast that cannot be made; the message says what was asked, and what can be."""


@dataclass(frozen=True)
class Traffic:
    """What arrives: ``count`` arrivals at ``rate`` a second by the process called ``process``; or the moments of a trace."""

    process: str
    rate: float
    count: int
    trace_s: np.ndarray | None = None

    def arrivals_s(self, seed: np.random.SeedSequence) -> np.ndarray:
        """The moments of one run's arrivals in seconds, ascending; those of a trace are the same for every seed."""
        if self.trace_s is not None:
            return self.trace_s
        return np.fromiter(islice(arrivals.process(self.process, seed), self.count), float, self.count) / self.rate

    @property
    def first(self) -> int:
        """The number of the first arrival that counts. A trace counts from its beginning, which is its own."""
        return 0 if self.trace_s is not None else math.floor(self.count * FIRST_SHARE)


@dataclass(frozen=True)
class Fleet:
    """``instances`` like the calibrated one, behind a balancer (simulation.ROUTINGS)."""

    instances: int
    routing: str
    queue_limit: int
    timeout_s: float


@dataclass(frozen=True)
class Spread:
    """The median over RUNS simulated runs, the smallest and the largest; infinite where a request got no answer."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """``latency_ms`` by percentile, ``errors`` as a share, ``capacity`` in arrivals per second.

    A percentile is None where the calibration or the run is too short for it. ``capacity`` is None for a trace.
    ``full_load`` is the rate that keeps all workers busy, ``utilisation`` the offered rate over that.
    """

    latency_ms: dict[str, Spread | None]
    errors: Spread
    capacity: Spread | None
    full_load: float
    utilisation: float


def at_rate(process: str, rate: float, duration_s: float) -> Traffic:
    """As many arrivals as ``duration_s`` brings at ``rate``. Raises ForecastError when that is none."""
    count = round(rate * duration_s)
    if not count:
        raise ForecastError(f"no arrival falls into {duration_s:g} s at {rate:g}/s: write a longer --duration")
    return Traffic(process, rate, count)


def traced(moments_s: np.ndarray) -> Traffic:
    """The arrivals of a trace: two or more moments in ascending order, not all the same."""
    return Traffic("trace", (len(moments_s) - 1) / float(moments_s[-1] - moments_s[0]), len(moments_s), moments_s)


def forecast(calibration: Calibration, traffic: Traffic, fleet: Fleet, objective: Sequence[Clause], seed: int) -> Forecast:
    """What ``traffic`` would see. Raises ForecastError for an objective that cannot be forecast, or too much to simulate."""
    work = RUNS * traffic.count
    if work > MOST_ARRIVALS:
        raise ForecastError(f"{work:,} arrivals to simulate, at most {MOST_ARRIVALS:,}: write a shorter --duration")
    capacity = None if traffic.trace_s is not None else capacity_of(calibration, traffic, fleet, objective, seed)
    runs = [latencies_ms(calibration, traffic, fleet, one) for one in range(seed, seed + RUNS)]
    full = full_load(calibration, fleet)
    return Forecast(
        {name: _percentile(runs, share, calibration) for name, share in _SHARES.items()} | {"mean": _mean(runs)},
        spread([_errors(run) for run in runs]),
        capacity,
        full,
        traffic.rate / full,
    )


def full_load(calibration: Calibration, fleet: Fleet) -> float:
    """Arrivals per second that keep all workers busy."""
    return calibration.full_load * fleet.instances


def forecastable(objective: Sequence[Clause]) -> list[Clause]:
    """The clauses that speak of latency and errors. Raises ForecastError when there are none."""
    clauses = [clause for clause in objective if clause.subject in _SHARES or clause.subject in ("mean", "errors")]
    if not clauses:
        raise ForecastError("the objective has no clause on latency or errors: write for example --objective 'p99<100ms'")
    return clauses


def capacity_of(calibration: Calibration, traffic: Traffic, fleet: Fleet, objective: Sequence[Clause], seed: int) -> Spread:
    """The highest rate of such traffic at which the objective holds. Raises ForecastError where that cannot be told."""
    clauses = forecastable(objective)
    traffic = replace(traffic, count=min(traffic.count, enough_arrivals(fleet.instances)))
    _check_carried(calibration, traffic, clauses)
    return spread([_capacity(calibration, traffic, fleet, clauses, one) for one in range(seed, seed + RUNS)])


def enough_arrivals(instances: int) -> int:
    """How many arrivals of a simulated run tell whether ``instances`` meet an objective."""
    return max(_CAPACITY_ARRIVALS, 2_000 * instances)


def holds_in_all(calibration: Calibration, traffic: Traffic, fleet: Fleet, clauses: Sequence[Clause], seed: int) -> bool:
    """Whether every one of RUNS simulated runs meets the clauses, so that the next one does in 39 of 40 cases.

    Raises ForecastError where a clause cannot be told.
    """
    _check_carried(calibration, traffic, clauses)
    return all(_meets(calibration, traffic, fleet, clauses, one) for one in range(seed, seed + RUNS))


def of_clause(calibration: Calibration, traffic: Traffic, fleet: Fleet, clause: Clause, seed: int) -> Spread:
    """What a clause on latency (ms) or errors (a share) speaks of, over RUNS simulated runs."""
    runs = (latencies_ms(calibration, traffic, fleet, one) for one in range(seed, seed + RUNS))
    return spread([_of_run(run, clause) for run in runs])


def latencies_ms(calibration: Calibration, traffic: Traffic, fleet: Fleet, seed: int) -> np.ndarray:
    """The latencies of one simulated run, in order of arrival, without its first ones."""
    arriving, drawing = np.random.SeedSequence(seed).spawn(2)
    generator = np.random.default_rng(drawing)
    calibration = calibration.resampled(generator)
    arrivals_s = traffic.arrivals_s(arriving)
    service = calibration.service(len(arrivals_s), generator)
    instance = simulation.Instance(calibration.workers, fleet.queue_limit, fleet.timeout_s, calibration.pass_s)
    latency_s = simulation.fleet_latencies_s(
        arrivals_s, service, instance, fleet.instances, fleet.routing, generator, calibration.pace
    )
    return latency_s[traffic.first :] * 1e3


def holds(latency_ms: np.ndarray, clause: Clause) -> bool:
    """Whether a run meets a clause on latency or errors."""
    return _of_run(latency_ms, clause) < clause.limit


def spread(values: Sequence[float]) -> Spread:
    """The median of an odd number of values, with the smallest and the largest."""
    ordered = sorted(values)
    return Spread(ordered[len(ordered) // 2], ordered[0], ordered[-1])


def _capacity(calibration: Calibration, traffic: Traffic, fleet: Fleet, clauses: Sequence[Clause], seed: int) -> float:
    """The highest rate at which one simulated run meets all clauses; 0 when it does at none.

    All rates are played with the same chance, so that a higher one is the same run in less time.
    """

    def met(rate: float) -> bool:
        return _meets(calibration, replace(traffic, rate=rate), fleet, clauses, seed)

    full = full_load(calibration, fleet)
    low, high = 0.0, full
    while met(high) and high < 16 * full:  # an objective may let many go without an answer
        low, high = high, 2 * high
    while high - low > _PRECISION * full:
        middle = (low + high) / 2
        low, high = (middle, high) if met(middle) else (low, middle)
    return low


def _meets(calibration: Calibration, traffic: Traffic, fleet: Fleet, clauses: Sequence[Clause], seed: int) -> bool:
    latency_ms = latencies_ms(calibration, traffic, fleet, seed)
    return all(holds(latency_ms, clause) for clause in clauses)


def _check_carried(calibration: Calibration, traffic: Traffic, clauses: Sequence[Clause]) -> None:
    for clause in clauses:
        needed = needed_samples(_SHARES[clause.subject]) if clause.subject in _SHARES else 0
        there = min(len(calibration.idle_s), traffic.count - traffic.first)
        if needed > there:
            raise ForecastError(
                f"{clause.text} needs {needed:,} requests in the calibration and in each simulated run, "
                f"and there are {there:,}: calibrate for longer, write a longer --duration or another --objective"
            )


def _of_run(latency_ms: np.ndarray, clause: Clause) -> float:
    if clause.subject == "errors":
        return _errors(latency_ms)
    if clause.subject == "mean":
        return _mean_ms(latency_ms)
    return _at(latency_ms, _SHARES[clause.subject])


def _percentile(runs: list[np.ndarray], share: float, calibration: Calibration) -> Spread | None:
    if min(len(calibration.idle_s), len(runs[0])) < needed_samples(share):
        return None
    return spread([_at(run, share) for run in runs])


def _at(latency_ms: np.ndarray, share: float) -> float:
    rank = math.ceil(len(latency_ms) * share) - 1
    return float(np.partition(latency_ms, rank)[rank])


def _mean(runs: list[np.ndarray]) -> Spread:
    return spread([_mean_ms(run) for run in runs])


def _mean_ms(latency_ms: np.ndarray) -> float:
    """The mean of what was answered; infinite where nothing was."""
    answered = latency_ms[np.isfinite(latency_ms)]
    return float(answered.mean()) if len(answered) else math.inf


def _errors(latency_ms: np.ndarray) -> float:
    return float(np.isinf(latency_ms).mean())
