"""Wander: how the pace of a machine changes by itself, over hundredths of a second to tens of seconds.

What shares a machine (other tenants' caches, memory and cores) makes a stretch of requests slow together. A queue feels such
a stretch as a change of load, so latency near full load is far worse than the same times in another order would make it.

The logarithm of the pace is a sum of Ornstein-Uhlenbeck processes, one for each scale of time: a usual stand-in for 1/f
noise, which wanders alike on all of them (Kaulakys, Gontis and Alaburda, Phys. Rev. E 71, 051105, 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.optimize import nnls

SCALES_S = (0.01, 0.1, 1.0, 10.0)
_LAGS = 60
_LONGEST_LAG_S = 3 * SCALES_S[-1]
_LONGEST_LAG_SHARE = 0.25  # of the requests: at longer lags too few pairs are left
_SHUFFLES = 99
_FEWEST = 100


@dataclass(frozen=True)
class Wander:
    """``variances`` of the logarithm of the pace, one for each of SCALES_S: how fast what is left of a stray fades."""

    variances: tuple[float, ...]

    @property
    def variance(self) -> float:
        """That of the logarithm of the pace as a whole."""
        return math.fsum(self.variances)

    def factors(self, moments_s: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """How many times as long as on average things take at each of some ascending moments, on one machine; mean 1."""
        strays = np.zeros(len(moments_s))
        for scale_s, variance in zip(SCALES_S, self.variances, strict=True):
            if variance and len(moments_s):
                strays += math.sqrt(variance) * _path(moments_s, scale_s, generator)
        return np.exp(strays - self.variance / 2)


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
    least squares without negative variances. STEADY where that explains no more than it does of the same strays in any of
    _SHUFFLES random orders, which is so in 99 of 100 cases of a machine that does not wander.
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
    return Wander(tuple(variances.tolist())) if explained > chance else STEADY


def _explained(fading: np.ndarray, covariances: np.ndarray) -> tuple[float, np.ndarray]:
    """(how much of the covariances' squares the scales explain, the variance of each)."""
    variances, left = nnls(fading, covariances)
    return float(covariances @ covariances - left**2), variances


def _fading(moments_s: np.ndarray, lag: int, scale_s: float) -> float:
    """What is left, on average, of a stray when so many requests more have come."""
    return float(np.exp((moments_s[:-lag] - moments_s[lag:]) / scale_s).mean())


def _covariances(strays: np.ndarray, lags: np.ndarray) -> np.ndarray:
    return np.array([np.mean(strays[:-lag] * strays[lag:]) for lag in lags])
