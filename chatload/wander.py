"""Wander: how the pace of a machine changes by itself, over hundredths of a second to tens of seconds.

What shares a machine (other tenants' caches, memory and cores) makes a stretch of requests slow together. A queue feels such
a stretch as a change of load, so latency near full load is far worse than the same times in another order would make it.

How much of it there is, is read as that of a sum of Ornstein-Uhlenbeck processes, one for each scale of time: a usual
stand-in for 1/f noise, which wanders alike on all of them (Kaulakys, Gontis and Alaburda, Phys. Rev. E 71, 051105, 2005).
But a machine is seldom much faster than usual and at times half as slow again, for as long as a neighbour is busy, which no
sum of Gaussian processes is. So what a calibration shows part by part, its course, is played again, and such processes are
only what is too quick for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

SCALES_S = (0.01, 0.1, 1.0, 10.0)
_LAGS = 60
_LONGEST_LAG_S = 3 * SCALES_S[-1]
_LONGEST_LAG_SHARE = 0.25  # of the requests: at longer lags too few pairs are left
_SHUFFLES = 99
_FEWEST = 100
_PART_S, _PART_REQUESTS = 0.25, 10  # a part of a course: so long, and longer where it would have fewer requests on average
_STRETCH_S = 10.0  # played again in one piece: longer than a machine's bad moments last
_FEWEST_PARTS = 40


@dataclass(frozen=True)
class Course:
    """How the pace went in a calibration: its logarithm in parts of ``part_s``, freed of noise, in order of time.

    Parts without any request are left out.
    """

    part_s: float
    strays: tuple[float, ...]

    @property
    def variance(self) -> float:
        """That of the logarithm of the pace, from part to part."""
        return float(np.var(self.strays))

    @property
    def usual(self) -> float:
        """How many times as long as at no stray things take on average."""
        return float(np.exp(self.strays).mean())

    def slowest(self, share: float) -> float:
        """How many times as long as on average things take in that share of the parts, or longer."""
        return float(np.exp(np.quantile(self.strays, 1 - share))) / self.usual

    def played(self, moments_s: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The strays at some ascending moments: stretches of the course, each from a part drawn by lot, round its end."""
        parts = np.floor((moments_s - moments_s[0]) / self.part_s).astype(int)
        length = math.ceil(_STRETCH_S / self.part_s)
        stretches, stretch = np.unique(parts // length, return_inverse=True)  # a trace may pause for months
        starts = generator.integers(len(self.strays), size=len(stretches))
        return np.array(self.strays)[(starts[stretch] + parts % length) % len(self.strays)]


@dataclass(frozen=True)
class Wander:
    """``variances`` of the logarithm of the pace, one for each of SCALES_S: how fast what is left of a stray fades.

    With a ``course`` the pace is that, and of the processes what the course lacks of the variance: the quickest of them.
    """

    variances: tuple[float, ...]
    course: Course | None = None

    @property
    def variance(self) -> float:
        """That of the logarithm of the pace as a whole."""
        return math.fsum(self.variances)

    def factors(self, moments_s: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """How many times as long as on average things take at each of some ascending moments, on one machine; mean 1."""
        if not len(moments_s):
            return np.ones(0)
        strays, usual, variances = np.zeros(len(moments_s)), 1.0, self.variances
        if self.course:
            # Lots of their own: at another rate, which takes more or fewer of them, all else is to be the same chance.
            strays = self.course.played(moments_s, generator.spawn(1)[0])
            usual = self.course.usual
            up_to = np.minimum(np.cumsum([0.0, *variances]), max(self.variance - self.course.variance, 0.0))
            variances = tuple(np.diff(up_to).tolist())
        for scale_s, variance in zip(SCALES_S, variances, strict=True):
            if variance:
                strays = strays + math.sqrt(variance) * _path(moments_s, scale_s, generator)
        return np.exp(strays - math.fsum(variances) / 2) / usual


STEADY = Wander((0.0,) * len(SCALES_S))


def _path(moments_s: np.ndarray, scale_s: float, generator: np.random.Generator) -> np.ndarray:
    """An Ornstein-Uhlenbeck process of variance 1 at ascending moments."""
    kept = np.exp(-np.diff(moments_s) / scale_s)
    news = generator.standard_normal(len(moments_s))
    steps = zip(kept.tolist(), (news[1:] * np.sqrt(1 - kept**2)).tolist(), strict=True)
    return np.array(list(accumulate(steps, lambda stray, step: step[0] * stray + step[1], initial=float(news[0]))))


def fit(moments_s: np.ndarray, strays: np.ndarray) -> Wander:
    """The wander behind ``strays``, logarithms of what took longer or shorter than usual, at ascending moments.

    The covariance of strays that lie some requests apart is a sum of what each scale leaves of its variance after that time:
    least squares without negative variances. Beside them stands the course that the strays took. STEADY where the scales
    explain no more than they do of the same strays in any of _SHUFFLES random orders, which is so in 99 of 100 cases of a
    machine that does not wander.
    """
    count = len(strays)
    if count < _FEWEST:
        return STEADY
    strays = strays - strays.mean()
    within = _LONGEST_LAG_S * count / (moments_s[-1] - moments_s[0])
    lags = np.unique(np.geomspace(1, max(min(within, _LONGEST_LAG_SHARE * count), 1), _LAGS).astype(int))
    fading = np.array([[_fading(moments_s, int(lag), scale_s) for scale_s in SCALES_S] for lag in lags])
    generator = np.random.default_rng(0)
    chance = max(_explained(fading, _covariances(generator.permutation(strays), lags))[0] for _ in range(_SHUFFLES))
    explained, variances = _explained(fading, _covariances(strays, lags))
    if explained <= chance:
        return STEADY
    found = Wander(tuple(variances.tolist()))
    return replace(found, course=_course(moments_s, strays, found.variance))


def _course(moments_s: np.ndarray, strays: np.ndarray, variance: float) -> Course | None:
    """The course of strays of which ``variance`` is the wander's, and the rest noise; None where noise is all that shows.

    The mean of a part is drawn towards that of all, so that each part varies as much as the wander does from part to part: a
    part of few requests, whose mean is mostly noise, by more.
    """
    since_s = moments_s - moments_s[0]
    seconds = len(np.unique(np.floor(since_s)))  # between windows of a run there are none
    part_s = max(_PART_S, _PART_REQUESTS * seconds / len(moments_s))
    _, parts, counts = np.unique(np.floor(since_s / part_s), return_inverse=True, return_counts=True)
    means, noise = np.bincount(parts, strays) / counts, max(strays.var() - variance, 0.0) / counts
    spread = min(means.var() - noise.mean(), variance)
    if len(means) < _FEWEST_PARTS or spread <= 0:
        return None
    drawn = means * np.sqrt(spread / (spread + noise))
    return Course(part_s, tuple((drawn - drawn.mean()).tolist()))


def _explained(fading: np.ndarray, covariances: np.ndarray) -> tuple[float, np.ndarray]:
    """(how much of the covariances' squares the scales explain, the variance of each)."""
    from scipy.optimize import nnls  # a quarter of a second to import, which commands that forecast nothing do without

    variances, left = nnls(fading, covariances)
    return float(covariances @ covariances - left**2), variances


def _fading(moments_s: np.ndarray, lag: int, scale_s: float) -> float:
    """What is left, on average, of a stray when so many requests more have come."""
    return float(np.exp((moments_s[:-lag] - moments_s[lag:]) / scale_s).mean())


def _covariances(strays: np.ndarray, lags: np.ndarray) -> np.ndarray:
    return np.array([np.mean(strays[:-lag] * strays[lag:]) for lag in lags])
