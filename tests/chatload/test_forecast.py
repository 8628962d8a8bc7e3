from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chatload import forecast_report, objective, queueing
from chatload.calibration import Calibration
from chatload.forecast import Fleet, Forecast, ForecastError, Spread, Traffic, forecast, holds, latencies_ms, spread
from chatload.haste import NONE, Haste, loads
from chatload.simulation import Instance, Service, latencies_s
from chatload.wander import STEADY, Course, Wander

SERVICE_S = 0.004
ONE = Fleet(1, "random", 100, 10.0)


def exponential(count: int = 4_000, workers: int = 1, beside_s: float = 0.001) -> Calibration:
    """A server of exponential service times, that answers ``beside_s`` later and reports no timings."""
    service_s = np.random.default_rng(1).exponential(SERVICE_S, count)
    service_s *= SERVICE_S / service_s.mean()
    rest_s, unknown_s = np.random.default_rng(2).exponential(0.1, count), np.zeros(count)
    letters, later, calm = np.full(count, 20), np.zeros(count, bool), np.ones(count)
    queued = service_s, unknown_s, letters, later
    idle = rest_s, service_s + beside_s, unknown_s, letters
    return Calibration(*idle, *queued, calm, calm, calm, calm, STEADY, NONE, 1.0, workers, 10.0)


def make(rate: float, calibration: Calibration, fleet: Fleet = ONE, goal: str = "p95<20ms", count: int = 2_000) -> Forecast:
    return forecast(calibration, Traffic("poisson", rate, count), fleet, objective.parse(goal), 1)


def test_one_exponential_worker_is_forecast_as_the_formula_says():
    found = make(150.0, exponential())
    expected_ms = 1e3 * queueing.mm1_latency_percentile_s(150.0, SERVICE_S, 0.95) + 1
    p95 = found.latency_ms["p95"]
    assert p95.value == pytest.approx(expected_ms, rel=0.1)
    assert p95.low < expected_ms < p95.high
    assert found.latency_ms["mean"].value == pytest.approx(1e3 / (1 / SERVICE_S - 150) + 1, rel=0.1)
    assert found.utilisation == pytest.approx(0.6, rel=0.01)
    assert found.errors.value == 0


def test_a_machine_whose_pace_wanders_waits_as_long_as_one_that_does():
    wandering = Wander((0.0, 0.01, 0.01, 0.0))
    calibration = replace(exponential(), wander=wandering)
    arrivals_s = np.random.default_rng(3).exponential(1 / 200, 400_000).cumsum()
    service_s = np.random.default_rng(4).exponential(SERVICE_S, 400_000)
    service = Service(service_s[np.newaxis]).at(np.zeros(1), wandering.factors(arrivals_s, np.random.default_rng(5)))
    truth_ms = 1e3 * np.quantile(latencies_s(arrivals_s, service, Instance(1, 10**6, math.inf, 0.001)), 0.95)
    said, steady = (make(200.0, one, count=20_000).latency_ms["p95"].value for one in (calibration, exponential()))
    assert said == pytest.approx(truth_ms, rel=0.15)
    assert steady < 0.85 * truth_ms


def test_a_worker_that_load_makes_faster_is_forecast_so():
    # A tenth of full load more takes 3 % of a mean time off; the calibration saw each request after a load of one a second.
    hastening = Haste(-0.3 * SERVICE_S**2, 0.0, 1 / SERVICE_S)
    calibration = replace(exponential(beside_s=0.0), haste=hastening)
    arrivals_s = np.random.default_rng(3).exponential(1 / 200, 400_000).cumsum()
    service_s = np.random.default_rng(4).exponential(SERVICE_S, 400_000) + hastening.added_s(loads(arrivals_s, 1))
    service_s = np.maximum(service_s, 0)
    truth_ms = 1e3 * np.quantile(latencies_s(arrivals_s, Service(service_s[np.newaxis]), Instance(1, 10**6, math.inf)), 0.95)
    said, unknown = (make(200.0, one, count=20_000) for one in (calibration, exponential(beside_s=0.0)))
    assert said.latency_ms["p95"].value == pytest.approx(truth_ms, rel=0.1)
    assert unknown.latency_ms["p95"].value > 1.4 * truth_ms
    assert said.full_load == pytest.approx(unknown.full_load / 0.7, rel=0.01)
    assert said.full_load * said.utilisation == pytest.approx(200)


def test_a_report_tells_how_slow_the_slowest_hundredth_of_a_calibration_was():
    course = Course(0.25, (*98 * (0.0,), 0.5, 0.5))
    wandering = Wander((0.0, 0.0, course.variance, 0.0), course)
    question = forecast_report.Question(
        "run", replace(exponential(), wander=wandering), Traffic("poisson", 100.0, 400), ONE, objective.parse("p95<20ms"), 1
    )
    said = forecast_report.machine(question, forecast(question.calibration, question.traffic, ONE, question.objective, 1))
    # Two of a hundred parts at e^0.5, and the mean a little above the others.
    assert "the machine's pace: wanders by 7 % over 1 s; for 1 % of the time 1.63 times as slow, or more" in said["measured"]


@pytest.mark.parametrize(
    ("hastening", "line"),
    [
        (NONE, "not told by a steady load"),
        (Haste(0.0, 5e-7, 200.0), "the same as far as can be told (standard error 0.01 ms for each 20/s and worker more)"),
        (Haste(-1e-6, 5e-7, 200.0), "0.02 ms less for each 20/s and worker more, to 200 (standard error 0.01)"),
        (Haste(1e-6, 5e-7, 200.0), "0.02 ms more for each 20/s and worker more, to 200 (standard error 0.01)"),
    ],
)
def test_the_report_says_what_a_load_changes(hastening, line):
    calibration = replace(exponential(1_000), haste=hastening)
    traffic, goal = Traffic("poisson", 50.0, 1_000), objective.parse("p50<20ms")
    question = forecast_report.Question("a run", calibration, traffic, ONE, goal, 1)
    said = forecast_report.machine(question, forecast(calibration, traffic, ONE, goal, 1))
    assert f"a time in a worker by the load of the last moments: {line}" in said["measured"]


def test_capacity_is_where_the_formula_meets_the_objective():
    # Of 20 ms one is beside the worker: -ln(0.05) / (1/S - rate) = 19 ms.
    expected = 1 / SERVICE_S + math.log(0.05) / 0.019
    capacity = make(50.0, exponential()).capacity
    assert capacity.low < expected < capacity.high
    assert capacity.value == pytest.approx(expected, rel=0.1)


def test_more_instances_carry_more_and_better_routing_more_still():
    alone = make(50.0, exponential(1_000), count=1_000).capacity.value
    spread_out, least = (
        make(50.0, exponential(1_000), Fleet(4, routing, 100, 10.0), count=3_000).capacity.value
        for routing in ("random", "least-outstanding")
    )
    assert spread_out == pytest.approx(4 * alone, rel=0.1)
    assert least > 1.1 * spread_out


def test_what_is_offered_beyond_full_load_is_refused():
    found = make(2 / SERVICE_S, exponential(), count=3_000)
    assert found.errors.value == pytest.approx(0.5, abs=0.03)
    assert found.latency_ms["p95"].value == math.inf


def test_an_objective_that_no_rate_meets_has_capacity_zero_and_one_on_errors_may_exceed_full_load():
    assert make(50.0, exponential(), goal="p99<1ms").capacity.value == 0
    assert make(50.0, exponential(), goal="errors<50%").capacity.value == pytest.approx(2 / SERVICE_S, rel=0.05)


def test_the_same_seed_is_the_same_run_and_another_is_not():
    traffic = Traffic("poisson", 100.0, 1_000)
    first, again, other = (latencies_ms(exponential(), traffic, ONE, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) == 900


def test_a_trace_arrives_as_it_did():
    burst = Traffic("trace", 1.0, 50, np.zeros(50))
    found = forecast(exponential(), burst, ONE, objective.parse("p95<20ms"), 1)
    assert found.latency_ms["p50"].value == pytest.approx(25 * SERVICE_S * 1e3, rel=0.2)
    assert found.capacity is None


def test_percentiles_are_claimed_only_where_the_calibration_carries_them():
    found = make(100.0, exponential(1_000), count=5_000).latency_ms
    assert found["p99"].value is not None
    assert found["p99.9"] is None


def test_what_cannot_be_forecast_is_refused():
    with pytest.raises(ForecastError, match="no clause on latency or errors"):
        make(50.0, exponential(), goal="accuracy>97%")
    with pytest.raises(ForecastError, match=r"p99.9<1s needs 3,688 requests .* and there are 1,000: calibrate for longer"):
        make(50.0, exponential(1_000), goal="p99.9<1s", count=9_000)
    with pytest.raises(ForecastError, match=r"p99<1s needs 368 requests .* and there are 90: .* write a longer --duration"):
        make(50.0, exponential(1_000), goal="p99<1s", count=100)
    with pytest.raises(ForecastError, match="39,000,000,000 arrivals to simulate"):
        make(50.0, exponential(), count=10**9)


def test_a_clause_holds_below_its_limit():
    latency_ms = np.array([1.0, 2.0, 3.0, math.inf])
    assert [
        holds(latency_ms, clause) for clause in objective.parse("p50<2.5ms,p50<2ms,errors<26%,errors<25%,mean<2.1ms")
    ] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_the_spread_is_from_the_smallest_to_the_largest():
    assert spread([3.0, math.inf, 1.0]) == Spread(3.0, 1.0, math.inf)
