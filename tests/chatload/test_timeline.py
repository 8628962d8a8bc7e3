"""Timeline: counts and percentiles over time against those of the samples themselves, at any length."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import samples, statistics, timeline
from tests.chatload.simulated import fail, poisson_s, rows


def fed(found: np.ndarray, seconds: int, step_s: int = 1) -> dict:
    """The timeline of samples that come in steps."""
    line = timeline.Timeline()
    for since_s in range(0, seconds, step_s):
        inside = (found["intended_s"] >= since_s) & (found["intended_s"] < since_s + step_s)
        line.advance(found[inside], min(since_s + step_s, seconds))
    return line.as_json()


@given(st.integers(1, 40), st.integers(1, 7), st.integers(0, 2**31))
def test_every_arrival_and_answer_is_in_its_second(seconds, step_s, seed):
    intended_s = poisson_s(20, seconds, seed)
    found = rows(intended_s, np.random.default_rng(seed).exponential(2.0, len(intended_s)))
    found = fail(found, np.arange(len(found)) % 7 == 3, samples.DROPPED)
    line = fed(found, seconds, step_s)
    edges = np.arange(seconds + 1)
    assert line["t_s"] == list(range(1, seconds + 1))
    assert line["offered"] == np.histogram(found["intended_s"], edges)[0].tolist()
    served = [np.count_nonzero((found["done_s"] >= s) & (found["done_s"] < s + 1)) for s in range(seconds)]
    assert line["served"] == served
    begun = found[~np.isnan(found["done_s"])]
    assert line["in_flight"] == statistics.in_flight(begun, np.nextafter(edges[1:], 0)).tolist()


def test_percentiles_are_those_of_as_many_last_seconds_as_carry_them():
    intended_s = poisson_s(100, 60)
    found = rows(intended_s, np.random.default_rng(2).exponential(0.05, len(intended_s)))
    line = fed(found, 60)
    latency_ms = samples.latency_ms(found)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        for second, value in zip(line["t_s"], line[name], strict=True):
            counts = [np.count_nonzero((intended_s >= since) & (intended_s < second)) for since in range(second)]
            enough = [since for since, count in enumerate(counts) if count >= statistics.needed_samples(share)]
            if not enough:
                assert value is None
                continue
            recent = np.sort(latency_ms[(intended_s >= max(enough)) & (intended_s < second)])
            assert value == pytest.approx(recent[math.ceil(len(recent) * share) - 1], rel=0.0105)
    assert line["p50"][0] is not None
    assert line["p99"][0] is None
    assert line["p99.9"][-1] is not None


def test_a_percentile_among_failures_is_no_number():
    intended_s = poisson_s(200, 20)
    found = rows(intended_s, np.full(len(intended_s), 0.01))
    line = fed(fail(found, (intended_s > 10) & (np.arange(len(found)) % 5 == 0)), 20)
    assert line["p90"][5] == pytest.approx(10.2, rel=0.0105)
    assert line["p90"][15] is None
    assert line["p50"][15] == pytest.approx(10.2, rel=0.0105)


def test_an_hour_is_as_short_as_five_minutes():
    intended_s = poisson_s(5, 3_700)
    found = rows(intended_s, np.full(len(intended_s), 0.02))
    line = fed(found, 3_700, 50)
    assert len(line["t_s"]) <= 300
    assert line["t_s"][-1] == 3_700
    widths_s = np.diff([0, *line["t_s"]])
    assert np.dot(line["offered"], widths_s) == pytest.approx(len(found), rel=1e-3)
    assert line["p99"][-1] == pytest.approx(20.2, rel=0.0105)
    assert set(map(len, line.values())) == {len(line["t_s"])}
