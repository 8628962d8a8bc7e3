from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import cost, objective, plan, queueing
from chatload.calibration import Calibration
from chatload.forecast import Spread
from chatload.haste import NONE
from chatload.plan import (
    GROWTH,
    MOST_INSTANCES,
    Candidate,
    Choice,
    PlanError,
    Terms,
    choose,
    decisive,
    fewest,
    growth,
    instances_at,
)
from chatload.wander import STEADY

SERVICE_S = 0.004


def terms(peak: float, goal: str = "p95<20ms,errors<1%", routing: str = "random") -> Terms:
    return Terms(peak, "poisson", routing, 100, objective.parse(goal), 1)


def simulated(instance: str = "box", dollars: float = 0.1, service_s: float = SERVICE_S) -> Candidate:
    """One worker of exponential service times, and nothing beside it."""
    times_s = np.random.default_rng(1).exponential(service_s, 4_000)
    times_s *= service_s / times_s.mean()
    rest_s, unknown_s = np.random.default_rng(2).exponential(0.1, 4_000), np.zeros(4_000)
    letters, later = np.full(4_000, 20), np.zeros(4_000, bool)
    calm = np.ones(4_000)
    queued = times_s, unknown_s, letters, later
    calibration = Calibration(
        rest_s, times_s, unknown_s, letters, *queued, calm, calm, calm, calm, STEADY, NONE, 1.0, 1, 10.0
    )
    return Candidate(instance, dollars, "made up", calibration, timeout_s=10.0)


def measured(low: float, instance: str = "box", dollars: float = 0.1) -> Candidate:
    return Candidate(instance, dollars, "capacity.json", capacity=Spread(1.1 * low, low, 1.2 * low))


@given(st.integers(1, MOST_INSTANCES), st.integers(0, 2 * MOST_INSTANCES))
def test_the_fewest_are_found_wherever_the_search_begins(truth, likely):
    asked = []

    def enough(instances: int) -> bool:
        asked.append(instances)
        return instances >= truth

    assert fewest(enough, likely) == truth
    assert len(asked) <= 2 + 2 * math.log2(MOST_INSTANCES)
    assert len(set(asked)) == len(asked)


def test_what_takes_more_than_the_most_is_not_found():
    assert fewest(lambda instances: False, 3) is None


@pytest.mark.parametrize("peak", [50.0, 500.0])
def test_a_forecast_fleet_is_no_smaller_than_the_formula_wants_and_hardly_larger(peak):
    # Random routing over n instances is n M/M/1 queues of peak / n each.
    def latency_s(instances: int) -> float:
        return queueing.mm1_latency_percentile_s(peak / instances, SERVICE_S, 0.95)

    wanted = next(n for n in range(math.ceil(peak * SERVICE_S + 0.01), 100) if latency_s(n) < 0.020)
    choice = choose(simulated(), terms(peak))
    assert wanted <= choice.instances <= math.ceil(1.25 * wanted)
    assert choice.dollars == pytest.approx(choice.instances * 0.1 * 730)
    assert choice.latency_ms.high < 20
    assert choice.latency_ms.low < 1e3 * latency_s(choice.instances) < choice.latency_ms.high
    assert choice.carries.low < 1 / SERVICE_S + math.log(0.05) / 0.020 < choice.carries.high


def test_better_routing_takes_fewer():
    by_lot, by_fewest = (
        instances_at(simulated(), terms(600.0, routing=routing), 600.0) for routing in ("random", "least-outstanding")
    )
    assert by_fewest < by_lot


@given(st.floats(1e-3, 1e6), st.floats(1.0, 1e4))
def test_a_measured_capacity_is_divided_by_its_lower_end(peak, low):
    choice = choose(measured(low), terms(peak))
    assert choice.instances == max(math.ceil(peak / low), 1)
    assert (choice.instances - 1) * low < max(peak, low) <= choice.instances * low * (1 + 1e-9) or choice.instances == 1
    assert choice.latency_ms is None


def test_what_no_number_of_instances_does_is_said():
    assert choose(Candidate("box", 0.1, "capacity.json"), terms(1.0)).reason == "no rate met the objective"
    late = choose(simulated(), terms(100.0, goal="p99<2ms"))
    assert (late.instances, late.dollars, late.reason) == (None, math.inf, "misses it even when idle")


def test_what_takes_more_than_is_simulated_is_said(monkeypatch):
    monkeypatch.setattr(plan, "MOST_INSTANCES", 2)
    assert choose(simulated(), terms(1e6)).reason == "more than 2"


def test_a_measurement_counts_in_place_of_a_forecast_and_the_cheapest_is_first():
    forecast_choice = Choice(simulated(), None, 2, None, "")
    counted = choose(measured(100.0), terms(300.0))
    dear = choose(measured(100.0, "gold", 9.0), terms(300.0))
    never = choose(Candidate("rust", 0.01, "capacity.json"), terms(300.0))
    assert decisive([never, dear, counted, forecast_choice]) == [counted, dear]
    assert decisive([forecast_choice]) == [forecast_choice]
    assert decisive([never]) == []


def test_growth_follows_the_traffic():
    grown = growth([choose(measured(100.0), terms(300.0))], terms(300.0))
    assert grown == {"box": [(300.0 * factor, max(math.ceil(3 * factor), 1)) for factor in GROWTH]}


def test_growth_leaves_out_what_takes_more_than_is_simulated(monkeypatch):
    monkeypatch.setattr(plan, "MOST_INSTANCES", 2)
    grown = growth([Choice(simulated(), None, 1, None, "")], terms(120.0, goal="p90<20ms"))
    assert grown == {"box": [(30.0, 1), (60.0, 1), (120.0, 1), (240.0, 2)]}


def test_an_objective_without_a_latency_is_no_plan():
    with pytest.raises(PlanError, match="no clause on latency"):
        choose(simulated(), terms(10.0, goal="errors<1%"))
    with pytest.raises(PlanError, match="no clause on latency"):
        choose(measured(10.0), replace(terms(10.0), clauses=objective.parse("accuracy>9%")))


@given(st.floats(1, 1e9), st.lists(st.floats(0.1, 10), min_size=1, max_size=48))
def test_the_busiest_part_is_at_least_the_mean(questions, curve):
    mean = questions / (730 * 3600)
    assert mean * (1 - 1e-9) <= cost.busiest(questions, curve) <= mean * len(curve) * (1 + 1e-9)
    assert cost.busiest(questions, [1.0] * 24) == pytest.approx(mean)
