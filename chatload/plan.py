"""Plan: how many instances of which type carry a traffic at its peak within an objective, and what they cost a month.

What one instance does is known from a measured capacity or from a calibration. Measured: the peak over the lower end of the
capacity's interval, instances adding up. Forecast: the fewest instances with which the objective holds at the peak in every
simulated run. At least one instance always runs; rates are per second, money is in dollars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatload import forecast
from chatload.calibration import Calibration
from chatload.cost import HOURS_A_MONTH
from chatload.forecast import Fleet, Spread, Traffic
from chatload.objective import LATENCIES, Clause

MOST_INSTANCES = 100  # of one type: more take minutes to simulate, and add up as well as these do
GROWTH = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the peak: what the plot shows beside it
_IDLE = 0.01  # of the full load
MEASURED, FORECAST = "measured", "forecast"


class PlanError(ValueError):
    """What cannot be planned with; the message names it and what to do."""


@dataclass(frozen=True)
class Terms:
    """What holds for all instance types: ``peak`` arrivals a second by ``process``, the balancer, the objective."""

    peak: float
    process: str
    routing: str
    queue_limit: int
    clauses: Sequence[Clause]
    seed: int

    @property
    def latency(self) -> Clause:
        """The first clause on latency. Raises PlanError when there is none."""
        for clause in self.clauses:
            if clause.subject in LATENCIES:
                return clause
        raise PlanError("the objective has no clause on latency: write for example --objective 'p99<100ms,errors<0.1%'")


@dataclass(frozen=True)
class Candidate:
    """An instance type with its price, and what is known of one: a calibration, or the capacity that was measured.

    ``capacity`` is the highest rate within the objective with its interval, None where that was met at no rate.
    """

    instance: str
    dollars_per_hour: float
    about: str
    calibration: Calibration | None = None
    timeout_s: float = math.inf
    capacity: Spread | None = None

    @property
    def basis(self) -> str:
        """MEASURED or FORECAST."""
        return FORECAST if self.calibration else MEASURED


@dataclass(frozen=True)
class Choice:
    """How many of a candidate the peak takes: ``instances``, None where no number will do, for the ``reason`` given.

    ``carries`` is the rate of one instance within the objective. ``latency_ms`` is the percentile of the objective's first
    clause on latency as simulated at the peak, None where nothing was.
    """

    candidate: Candidate
    carries: Spread | None
    instances: int | None
    latency_ms: Spread | None
    reason: str

    @property
    def dollars(self) -> float:
        """A month's bill; infinite where no number of instances will do."""
        return self.instances * self.candidate.dollars_per_hour * HOURS_A_MONTH if self.instances else math.inf


def choose(candidate: Candidate, terms: Terms) -> Choice:
    """How many of ``candidate`` carry the peak. Raises forecast.ForecastError for what cannot be told."""
    latency = terms.latency
    instances = instances_at(candidate, terms, terms.peak)
    calibration = candidate.calibration
    if calibration is None:
        return Choice(candidate, candidate.capacity, instances, None, "" if instances else "no rate met the objective")
    one, clauses = _fleet(candidate, terms, 1), forecast.forecastable(terms.clauses)
    carries = forecast.capacity_of(calibration, _traffic(terms, terms.peak, 1), one, clauses, terms.seed)
    if instances is None:
        idle = _enough(calibration, candidate, terms, _IDLE * forecast.full_load(calibration, one))(1)
        return Choice(candidate, carries, None, None, f"more than {MOST_INSTANCES}" if idle else "misses it even when idle")
    fleet, traffic = _fleet(candidate, terms, instances), _traffic(terms, terms.peak, instances)
    return Choice(candidate, carries, instances, forecast.of_clause(calibration, traffic, fleet, latency, terms.seed), "")


def instances_at(candidate: Candidate, terms: Terms, rate: float) -> int | None:
    """The fewest of ``candidate`` that carry ``rate``; None where no number will do, or more than MOST_INSTANCES simulated.

    Raises forecast.ForecastError for what cannot be told.
    """
    if candidate.calibration is None:
        return max(math.ceil(rate / candidate.capacity.low), 1) if candidate.capacity else None
    full_load = forecast.full_load(candidate.calibration, _fleet(candidate, terms, 1))
    return fewest(_enough(candidate.calibration, candidate, terms, rate), math.ceil(rate / full_load))


def fewest(enough: Callable[[int], bool], likely: int) -> int | None:
    """The smallest number up to MOST_INSTANCES that is enough, given that more always are; sought from ``likely`` on."""
    low, high = 0, min(max(likely, 1), MOST_INSTANCES)
    while not enough(high):
        if high == MOST_INSTANCES:
            return None
        low, high = high, min(2 * high, MOST_INSTANCES)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def decisive(choices: Sequence[Choice]) -> list[Choice]:
    """The choices to decide by, cheapest first: a measurement counts in place of a forecast of the same instance type."""
    counted = {choice.candidate.instance: choice for choice in choices}
    counted |= {choice.candidate.instance: choice for choice in choices if choice.candidate.basis == MEASURED}
    return sorted((choice for choice in counted.values() if choice.instances), key=lambda choice: choice.dollars)


def growth(choices: Sequence[Choice], terms: Terms) -> dict[str, list[tuple[float, int]]]:
    """By instance type, cheapest first: (rate, instances) at GROWTH times the peak, as far as that can be told."""
    found: dict[str, list[tuple[float, int]]] = {}
    for candidate in [choice.candidate for choice in decisive(choices)]:
        rates = [factor * terms.peak for factor in GROWTH]
        sized = [(rate, instances_at(candidate, terms, rate)) for rate in rates]
        found[candidate.instance] = [(rate, instances) for rate, instances in sized if instances]
    return found


def _enough(calibration: Calibration, candidate: Candidate, terms: Terms, rate: float) -> Callable[[int], bool]:
    """Whether so many instances meet the objective at ``rate``, as a function of their number."""
    clauses = forecast.forecastable(terms.clauses)

    def enough(instances: int) -> bool:
        traffic, fleet = _traffic(terms, rate, instances), _fleet(candidate, terms, instances)
        return forecast.holds_in_all(calibration, traffic, fleet, clauses, terms.seed)

    return enough


def _traffic(terms: Terms, rate: float, instances: int) -> Traffic:
    return Traffic(terms.process, rate, forecast.enough_arrivals(instances))


def _fleet(candidate: Candidate, terms: Terms, instances: int) -> Fleet:
    return Fleet(instances, terms.routing, terms.queue_limit, candidate.timeout_s)
