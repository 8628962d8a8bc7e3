from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

from chatload import samples, statistics
from chatload.objective import Estimate


def chance(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def mm1_latency(count: int, load: float, generator: np.random.Generator) -> np.ndarray:
    """Latencies of an M/M/1 queue of service rate one, by Lindley's recursion; exponential of mean 1 / (1 - load)."""
    warm = 5_000
    service = generator.exponential(1, count + warm)
    steps = np.concatenate([[0], np.cumsum(service[:-1] - generator.exponential(1 / load, count + warm - 1))])
    return (steps - np.minimum.accumulate(steps) + service)[warm:]


def autocorrelated(count: int, generator: np.random.Generator) -> np.ndarray:
    """A Gaussian AR(1) process of unit variance in which neighbours correlate at 0.95."""
    noise = generator.normal(size=count + 1_000)
    return lfilter([1], [1, -0.95], noise)[1_000:] * math.sqrt(1 - 0.95**2)


@given(st.lists(st.floats(-1e6, 1e6), min_size=400, max_size=600), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles_are_exact_order_statistics_inside_their_interval(values, share):
    estimate = statistics.percentile(np.array(values), share)
    assert estimate.value == sorted(values)[math.ceil(len(values) * share) - 1]
    assert estimate.low <= estimate.value <= estimate.high


@pytest.mark.parametrize(("share", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.999, 3_688)])
def test_a_percentile_needs_samples(share, needed):
    assert statistics.needed_samples(share) == needed
    assert statistics.percentile(chance().random(needed - 1), share) == statistics.NOT_CARRIED
    assert statistics.percentile(chance().random(needed), share).value is not None


@pytest.mark.parametrize(
    ("draw", "truth", "count", "share"),
    [
        (lambda g: mm1_latency(20_000, 0.7, g), lambda q: -math.log(1 - q) / 0.3, 20_000, 0.50),
        (lambda g: mm1_latency(20_000, 0.7, g), lambda q: -math.log(1 - q) / 0.3, 20_000, 0.90),
        (lambda g: mm1_latency(20_000, 0.7, g), lambda q: -math.log(1 - q) / 0.3, 20_000, 0.99),
        (lambda g: mm1_latency(3_000, 0.9, g), lambda q: -math.log(1 - q) / 0.1, 3_000, 0.90),
        (lambda g: autocorrelated(20_000, g), stats.norm.ppf, 20_000, 0.50),
        (lambda g: autocorrelated(20_000, g), stats.norm.ppf, 20_000, 0.99),
        (lambda g: g.exponential(size=3_000), lambda q: -math.log(1 - q), 3_000, 0.99),
    ],
    ids=["mm1-p50", "mm1-p90", "mm1-p99", "short-mm1-p90", "ar-p50", "ar-p99", "independent-p99"],
)
def test_at_least_93_of_100_intervals_hold_the_truth(draw, truth, count, share):
    generator = chance(7)
    estimates = [statistics.percentile(draw(generator), share) for _ in range(300)]
    held = sum(estimate.low <= truth(share) <= estimate.high for estimate in estimates)
    assert held / len(estimates) >= 0.93


def test_few_effective_samples_do_not_push_the_lower_bound_above_the_percentile():
    generator = chance(3)
    for _ in range(20):
        found = statistics.percentile(mm1_latency(20_000, 0.9, generator), 0.999)
        assert found.low <= found.value <= found.high


def test_correlation_widens_the_interval():
    def width(values):
        estimate = statistics.percentile(values, 0.9)
        return estimate.high - estimate.low

    queue = mm1_latency(100_000, 0.8, chance())
    assert width(queue) > 3 * width(chance().permutation(queue))


def test_more_confidence_widens_the_interval_and_needs_more_samples():
    values = chance().random(20_000)
    usual, sure = (statistics.percentile(values, 0.99, confidence=confidence) for confidence in (0.95, 0.999))
    assert usual == statistics.percentile(values, 0.99)
    assert sure.low < usual.low < usual.value == sure.value < usual.high < sure.high
    assert statistics.needed_samples(0.99, 0.999) == 757  # ln(0.0005) / ln(0.99), by hand
    assert statistics.percentile(values[:500], 0.99, confidence=0.999) == statistics.NOT_CARRIED
    for estimate in (statistics.mean, statistics.proportion):
        narrow, wide = estimate(values > 0.5, confidence=0.9), estimate(values > 0.5, confidence=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high
    assert statistics.rate(100, 10, 0.99).low < statistics.rate(100, 10).low


def test_failures_push_the_percentile_out():
    latency = chance().random(1_000)
    latency[::50] = math.inf  # 2 % were never answered
    found = statistics.distribution(latency)
    assert found["p95"].value < 1
    assert found["p99"].value == math.inf
    assert found["max"].value < 1


def test_a_proportion_is_held_by_its_interval():
    assert statistics.proportion(np.zeros(1_000, bool)).value == 0
    assert statistics.proportion(np.zeros(1_000, bool)).high == pytest.approx(0.00368, rel=0.01)
    assert statistics.proportion(np.ones(1_000, bool)).low == pytest.approx(1 - 0.00368, rel=0.01)
    some = statistics.proportion(chance().random(1_000) < 0.1)
    assert some.low < 0.1 < some.high


def test_a_rate_is_held_by_its_interval():
    assert statistics.rate(0, 10) == Estimate(0, 0, pytest.approx(0.369, rel=0.01))
    found = statistics.rate(100, 10)
    assert (found.low, found.high) == (pytest.approx(8.14, rel=0.01), pytest.approx(12.16, rel=0.01))


def test_nothing_is_claimed_of_nothing():
    empty = np.empty(0)
    assert statistics.percentile(empty, 0.5) == statistics.NOT_CARRIED
    assert statistics.proportion(empty.astype(bool)) == statistics.NOT_CARRIED
    assert statistics.mean(empty) == statistics.NOT_CARRIED


def make_rows(outcomes: list[int], spacing_s: float = 0.01) -> np.ndarray:
    packed = b""
    for serial, outcome in enumerate(outcomes):
        intended_s = serial * spacing_s
        sent = samples.NEVER if outcome == samples.DROPPED else intended_s + 0.001
        done = samples.NEVER if outcome in (samples.DROPPED, samples.UNFINISHED) else intended_s + 0.011
        packed += samples.pack(intended_s, sent, done, 0, 0, outcome, 0.5, 5.0, 100)
    return samples.from_bytes(packed)


def test_a_summary_counts_every_arrival_once():
    outcomes = [samples.OK] * 500 + [samples.WRONG] * 20 + [503] * 10 + [samples.DROPPED] * 5 + [samples.UNFINISHED] * 4
    rows = make_rows(outcomes + [samples.TIMEOUT])
    summary = statistics.summarise(rows, np.ones(len(rows), bool), 0.0, 5.4)
    counted = [summary[name] for name in ("ok", "wrong", "failed", "dropped", "unfinished")]
    assert counted == [500, 20, 11, 5, 4]
    assert summary["planned"] == sum(counted) == sum(summary["outcomes"].values())
    assert summary["sent"] == 535
    assert summary["outcomes"]["http_503"] == 10
    assert summary["accuracy"]["checked"] == 520
    assert summary["accuracy"]["correct"] == 500
    assert summary["errors"].value == pytest.approx(20 / 540)
    assert summary["latency_ms"]["p50"].value == pytest.approx(11)
    assert summary["service_ms"]["p50"].value == pytest.approx(10)
    assert summary["lag_ms"]["p50"].value == pytest.approx(1)
    assert summary["server_ms"]["infer"]["p50"].value == 5.0


def test_the_warm_up_is_left_out_and_the_order_of_rows_does_not_matter():
    rows = make_rows([samples.TIMEOUT] * 100 + [samples.OK] * 500)
    summary = statistics.summarise(rows, np.ones(len(rows), bool), 1.0, 6.0)
    assert (summary["planned"], summary["ok"], summary["failed"]) == (500, 500, 0)
    assert summary["offered_rate"] == pytest.approx(100)
    shuffled = chance().permutation(rows)
    assert statistics.summarise(shuffled, np.ones(len(rows), bool), 1.0, 6.0) == summary


@given(st.lists(st.sampled_from([0, 1, 2, 5, 503]), min_size=1, max_size=60), st.integers(1, 4))
def test_the_summary_of_a_union_is_that_of_its_parts_joined(outcomes, workers):
    rows = make_rows(outcomes)
    parts = [rows[worker::workers] for worker in range(workers)]
    whole = statistics.summarise(rows, np.ones(len(rows), bool), 0.0, 1.0)
    joined = statistics.summarise(np.concatenate(parts), np.ones(len(rows), bool), 0.0, 1.0)
    assert repr(joined) == repr(whole)  # repr, since NaN differs from itself


@given(st.one_of(st.permutations(range(10)), st.lists(st.integers(0, 5), min_size=10, max_size=10)))
@example([*range(10)])
@example([0, 9, *range(1, 9)])  # 29 pairs more rise than fall
@example([9, *range(9)])  # 27
@example([0] * 7 + [1, 2, 3])
@example([1] * 10)
def test_a_trend_is_what_kendall_s_rank_test_calls_one(means):
    series = np.repeat(np.array(means, float) + 50, 30)
    by_chance = not stats.kendalltau(range(10), means).pvalue < 0.01  # of a flat series it is no number
    assert statistics.trend(series) == (1 if by_chance else (series[-100:].mean() + 1) / (series[:100].mean() + 1))


@given(st.integers(0, 10**6), st.integers(100, 3_000), st.floats(0.8, 1.25), st.sampled_from([1.0, 0.8, 0.5]))
def test_arrivals_depart_from_poisson_where_kolmogorov_and_smirnov_say_so(seed, count, speed, shape):
    gaps = chance(seed).gamma(shape, 1 / (shape * 100 * speed), count)
    chances = stats.kstest(np.diff(np.cumsum(gaps)), "expon", args=(0, 1 / 100)).pvalue
    assume(not 0.6e-4 < chances < 1.2e-4)  # where the law of many gaps and the exact one may differ
    assert statistics.departs_from_poisson(np.cumsum(gaps), 100.0) == (chances < 1e-4)
