from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import latency_curve, queueing
from chatload.latency_curve import Point
from chatload.objective import Estimate


def point(rate: float, latency_ms: float, samples: int = 10_000) -> Point:
    """With an interval as wide as that of a busy queue's p99."""
    side = math.exp(10 / math.sqrt(samples))
    return Point(rate, Estimate(latency_ms, latency_ms / side, latency_ms * side), samples)


def mm1_points(full_load: float, loads: tuple[float, ...], samples: int) -> list[Point]:
    """An M/M/1 queue's p99 without any noise."""
    rates = [load * full_load for load in loads]
    return [point(rate, 1e3 * queueing.mm1_latency_percentile_s(rate, 1 / full_load, 0.99), samples) for rate in rates]


@given(st.floats(50, 5_000), st.floats(10, 60))
def test_the_crossing_of_a_queue_without_noise_is_the_one_of_theory(full_load, services):
    """Far more samples than there are need no correction."""
    limit_ms = services * 1e3 / full_load
    capacity = full_load + math.log(0.01) * 1e3 / limit_ms
    load = capacity / full_load
    loads = tuple(1 - (1 - load) * factor for factor in (1.5, 1.2, 1.0, 0.8))
    found = latency_curve.crossing(mm1_points(full_load, loads, 10**9), limit_ms)
    assert found is not None
    assert found.rate == pytest.approx(capacity, rel=1e-3)
    assert found.low < found.rate < found.high


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_crossing_scales_with_the_units(of_rate, of_latency):
    points = [(100, 40), (120, 60), (130, 90), (140, 150)]
    plain = latency_curve.crossing([point(rate, ms) for rate, ms in points], 100)
    scaled = latency_curve.crossing([point(rate * of_rate, ms * of_latency) for rate, ms in points], 100 * of_latency)
    assert plain is not None
    assert scaled is not None
    assert [scaled.rate, scaled.low, scaled.high] == pytest.approx(
        [plain.rate * of_rate, plain.low * of_rate, plain.high * of_rate]
    )


def test_more_samples_make_the_interval_narrower_and_the_correction_smaller():
    loads = (0.7, 0.8, 0.85, 0.9)
    few, many = (latency_curve.crossing(mm1_points(1_000, loads, count), 40) for count in (20_000, 2_000_000))
    assert few is not None
    assert many is not None
    truth = 1_000 + math.log(0.01) / 0.04
    assert abs(many.rate - truth) < abs(few.rate - truth)
    assert many.precision < few.precision / 5


def test_a_point_far_beyond_the_limit_does_not_bend_the_curve():
    loads = (0.7, 0.8, 0.85, 0.88)
    points = mm1_points(1_000, loads, 10**7)
    with_overload = [*points, point(1_500, 5_000), Point(2_000, Estimate(math.inf, math.inf, math.inf), 1_000)]
    assert latency_curve.crossing(with_overload, 40) == latency_curve.crossing(points, 40)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point(100, 50)],
        [point(100, 50), point(100, 60)],
        [point(100, 90), point(200, 60)],
        [point(100, 1), point(200, 2)],
    ],
    ids=["none", "one", "one rate", "faster at a higher rate", "far from the limit"],
)
def test_no_curve_no_crossing(points):
    assert latency_curve.crossing(points, 100) is None
