"""Latency curve: a latency percentile over the offered rate, and the rate at which it meets a limit.

In a queue a percentile of latency grows as 1 / (full load - rate), so its *reciprocal* (here: its speed) falls nearly as a
straight line, exactly so for M/M/1, and its variance is nearly the same at all rates for the same number of samples. Hence
a line through the speeds near the limit, weighted by samples. docs/decisions/0407 has how well that holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chatload import quantiles, statistics
from chatload.objective import Estimate

# What of the curve counts as near the limit, in times the limit; the wider range where the narrower holds too few points.
_NEAR, _AROUND = (1 / 4, 2.5), (1 / 10, 2.5)
_FEWEST, _ENOUGH = 2, 4
_ROUNDS = 3
# How much the points' own intervals are believed beside their scatter about the line, in degrees of freedom.
_PRIOR = 6
# Both found by simulating searches (benchmarks/capacity.py). A run seldom meets the worst that a queue can do, so its tail
# is too calm: its speed is too large by so many times its relative variance.
_CALM = 0.8
# Intervals of percentiles are longer above than below, and those of calm runs too short: so many times the lower side.
_LONGER = 2.0


@dataclass(frozen=True)
class Point:
    """A measured percentile of latency at an offered rate (/s), from so many samples."""

    rate: float
    latency_ms: Estimate
    samples: int


@dataclass(frozen=True)
class Crossing:
    """The rate (/s) at which the curve meets its limit, with the bounds that hold it at 95 % confidence."""

    rate: float
    low: float
    high: float

    @property
    def precision(self) -> float:
        """The wider side of the interval as a share of the rate."""
        return max(self.high - self.rate, self.rate - self.low) / self.rate


@dataclass(frozen=True)
class _Line:
    """A falling line through speeds, weighted by samples: ``level`` at the rate ``middle``.

    ``variance`` is that of a speed from one sample, known with so many degrees of ``freedom``.
    """

    middle: float
    level: float
    slope: float
    weight: float
    spread: float
    variance: float = math.nan
    freedom: int = 0

    def at(self, rate: Any) -> Any:
        """The speed at a rate, or at an array of them."""
        return self.level + self.slope * (rate - self.middle)


def crossing(points: Sequence[Point], limit_ms: float) -> Crossing | None:
    """Where the curve through ``points`` meets ``limit_ms``; None where they do not show it: too few near it, or no slope.

    Which points are near is asked of the line, not of the points: to leave out those that happen to be high would lower it.
    """
    points = [point for point in points if point.latency_ms.value]
    line = _fit(_near(points, [_speed(point) for point in points], limit_ms), None)
    for _ in range(_ROUNDS):
        if line is None:
            return None
        line = _fit(_near(points, [line.at(point.rate) for point in points], limit_ms), line)
    return _meet(line, 1 / limit_ms) if line else None


def _near(points: Sequence[Point], speeds: Sequence[float], limit_ms: float) -> list[Point]:
    """The points whose ``speeds`` are near the limit's."""
    for least, most in (_NEAR, _AROUND):
        found = [p for p, speed in zip(points, speeds, strict=True) if 1 / most <= speed * limit_ms <= 1 / least]
        if len(found) >= _ENOUGH:
            break
    return found


def _meet(line: _Line, speed: float) -> Crossing | None:
    found = line.middle + (speed - line.level) / line.slope
    error = math.sqrt(line.variance * (1 / line.weight + (found - line.middle) ** 2 / line.spread)) / -line.slope
    half = float(quantiles.student(0.975, line.freedom)) * error
    return Crossing(found, found - half, found + half) if found > 0 else None


def _fit(points: Sequence[Point], before: _Line | None) -> _Line | None:
    """The line through some points, corrected by what the line ``before`` knows; None where they make no falling one."""
    if len(points) < _FEWEST:
        return None
    rates = np.array([point.rate for point in points])
    weights = np.array([float(point.samples) for point in points])
    speeds = np.array([_speed(point) for point in points])
    if before is not None:
        speeds -= _CALM * before.variance / weights / np.array([before.at(rate) for rate in rates])
    middle, level = float(np.average(rates, weights=weights)), float(np.average(speeds, weights=weights))
    spread = float(np.sum(weights * (rates - middle) ** 2))
    slope = float(np.sum(weights * (rates - middle) * (speeds - level))) / spread if spread else 0.0
    line = _Line(middle, level, slope, float(weights.sum()), spread)
    squares = float(np.sum(weights * (speeds - line.at(rates)) ** 2))
    return replace(line, **_variance(points, squares)) if slope < 0 else None


def _speed(point: Point) -> float:
    """0 where a percentile is infinite."""
    return 1 / float(point.latency_ms.value or 0)


def _variance(points: Sequence[Point], squares: float) -> dict:
    """What one sample's speed varies by: from the scatter about the line, and from the points' own intervals."""
    own = [point.samples * (_relative_error(point.latency_ms) * _speed(point)) ** 2 for point in points]
    freedom = len(points) - 2 + _PRIOR
    return {"variance": (squares + _PRIOR * float(np.median(own))) / freedom, "freedom": freedom}


def _relative_error(estimate: Estimate) -> float:
    """The relative standard error that the lower side of an interval says; the upper one is often open."""
    assert estimate.value is not None
    assert estimate.low is not None
    if math.isinf(estimate.value):
        return 0.0  # beyond doubt: its speed is 0
    return _LONGER * math.log(estimate.value / estimate.low) / statistics.TWO_SIDED
