"""Contrast: the change from one estimate to another, with its interval, and what it would take to see a smaller one.

A change is a ratio (of throughput, of latency) or a difference (of shares). Two estimates are combined by MOVER, the method
of variance estimates recovery (Zou and Donner 2008), which keeps lopsided intervals lopsided; values paired by rounds have
Student's t. Infinite and zero values are taken at their word: a server that never answered is infinitely slow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from chatload import quantiles
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED, rate

POWER = 0.8  # what is asked for finds the change in at least 80 of 100 comparisons; measured in docs/decisions/0206
_SPREAD_BOUND = 0.8
_MOST_ROUNDS = 10_000


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """B/A of two independent estimates, by MOVER on the logarithms. NOT_CARRIED when either is, or both are infinite."""
    if a.value is None or b.value is None:
        return NOT_CARRIED
    log_a, log_b = logs(a), logs(b)
    if math.isfinite(log_a[0]) and math.isfinite(log_b[0]):
        return _from_logs(*_mover(log_a, log_b))
    if log_a[0] == log_b[0]:
        return NOT_CARRIED  # two servers that do not answer are not alike in anything that was measured
    # One side did not answer at all: only the bounds say how sure that is.
    low, high = log_b[1] - log_a[2], log_b[2] - log_a[1]
    return _from_logs(log_b[0] - log_a[0], -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """B - A of two independent estimates, by MOVER (for shares: Newcombe 1998, method 10). NOT_CARRIED when either is."""
    if a.value is None or b.value is None or a.low is None or b.low is None or a.high is None or b.high is None:
        return NOT_CARRIED
    return Estimate(*_mover((a.value, a.low, a.high), (b.value, b.low, b.high)))


def _mover(a: tuple[float, float, float], b: tuple[float, float, float]) -> tuple[float, float, float]:
    """b - a with its bounds, from (value, low, high) of two independent estimates."""
    value = b[0] - a[0]
    return value, value - math.hypot(b[0] - b[1], a[2] - a[0]), value + math.hypot(b[2] - b[0], a[0] - a[1])


def paired_ratio(a: np.ndarray, b: np.ndarray, confidence: float, grain: float = 0.0) -> Estimate:
    """The geometric mean of b/a over rounds, widened by ``grain``, the share of a value that is its resolution.

    A round with an infinite or zero value on one side leaves the ratio without bounds. NOT_CARRIED when both values of a
    round are infinite, or both zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.log(b) - np.log(a)
    if np.isnan(steps).any():
        return NOT_CARRIED
    if np.isinf(steps).any():
        return Estimate(None, 0.0, math.inf)
    return _from_logs(*_students(steps, confidence, grain))


def paired_difference(a: np.ndarray, b: np.ndarray, confidence: float, grain: float = 0.0) -> Estimate:
    """The mean of b - a over at least two rounds, widened by ``grain``, the resolution of a value."""
    return Estimate(*_students(b - a, confidence, grain))


def _students(steps: np.ndarray, confidence: float, grain: float) -> tuple[float, float, float]:
    value = float(steps.mean())
    half = float(quantiles.student((1 + confidence) / 2, len(steps) - 1) * steps.std(ddof=1) / math.sqrt(len(steps))) + grain
    return value, value - half, value + half


def rate_ratio(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray], seconds: tuple[float, float], confidence: float
) -> Estimate:
    """The ratio of two rates, b's over a's, from how many events fell into equal parts of a's time and of b's.

    ``a`` and ``b`` hold the same counts in coarse and in finer parts; the widest interval counts. A part of b is held
    against the part of a at its place (the ratio estimator, Cochran 1977, ch. 6): what both owe to a load that changes by
    plan is no uncertainty, and what comes in bursts is. Where a side has no event, a Poisson count bounds it.
    """
    total_a, total_b = int(a[0].sum()), int(b[0].sum())
    if not total_a or not total_b:
        return ratio(rate(total_a, seconds[0], confidence), rate(total_b, seconds[1], confidence))
    value = math.log(total_b / seconds[1]) - math.log(total_a / seconds[0])
    # One event more or less is no difference, however exactly the same load repeats itself.
    half = max(map(lambda x, y: _half_over_parts(x, y, confidence), a, b)) + 1 / min(total_a, total_b)
    return _from_logs(value, value - half, value + half)


def _half_over_parts(a: np.ndarray, b: np.ndarray, confidence: float) -> float:
    rest = b - a * (b.sum() / a.sum())
    quantile = quantiles.student((1 + confidence) / 2, len(rest) - 1)
    return float(quantile * math.sqrt(len(rest)) * rest.std(ddof=1) / b.sum())


def needed_factor(half: float, margin: float, confidence: float) -> float:
    """By what factor two runs must be longer to find a change of ``margin``, given half the width of their interval.

    Intervals shrink with the square root of the length.
    """
    level = quantiles.normal((1 + confidence) / 2)
    return float(((half / margin) * (level + quantiles.normal(POWER)) / level) ** 2)


def needed_rounds(half: float, rounds: int, margin: float, confidence: float) -> int | None:
    """How many rounds find a change of ``margin``, where the interval over ``rounds`` of them has half the width ``half``.

    Few rounds may look more alike than they are, so their spread is taken at its upper 80 % bound (Browne 1995). None where
    ten thousand do not.
    """
    tail = (1 + confidence) / 2
    spread = half * math.sqrt(rounds) / quantiles.student(tail, rounds - 1)
    spread *= math.sqrt((rounds - 1) / quantiles.chi_squared(1 - _SPREAD_BOUND, rounds - 1))
    counts = np.arange(2, _MOST_ROUNDS + 1)
    seen = sum(special.stdtrit(counts - 1, share) for share in (tail, POWER)) * spread / np.sqrt(counts)
    enough = np.flatnonzero(seen <= margin)
    return int(counts[enough[0]]) if len(enough) else None


def logs(found: Estimate) -> tuple[float, float, float]:
    """The logarithms of (value, low, high); a bound that is None bounds nothing."""
    assert found.value is not None
    low = 0.0 if found.low is None else found.low
    return log(found.value), log(low), log(math.inf if found.high is None else found.high)


def log(value: float) -> float:
    """The natural logarithm, minus infinity for zero."""
    return math.log(value) if value > 0 else -math.inf


def _from_logs(value: float, low: float, high: float) -> Estimate:
    return Estimate(*(math.exp(part) if part < 700 else math.inf for part in (value, low, high)))
