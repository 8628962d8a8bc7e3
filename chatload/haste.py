"""Haste: how the time in a worker follows the load of the last moments, whatever the worker's own rest and queue.

TorchServe with MiniLM took 6 to 10 % less for a request in each 5 s at 60 % of its full load than in the 5 s at 20 % before
and after, be it after 20 ms of rest or behind a queue; it fell and rose within about a second. On another machine, where a
few tenths of one were enough, a long utterance gained as many milliseconds as a short one, and the more load there was the
less more of it changed, so where it ends is found as well (decision 0413). The load is told by arrivals: these do not depend
on how fast a worker is, as its own busy time would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

MEMORY_S = 0.2  # what came so long ago counts 1/e of what comes now
# Of a load that fades so quickly much is chance, and among like requests chance load goes with a quick pace (below). What it
# has in common with one that fades slowly is mostly of the plan.
SLOW_S = 0.5
# A rate that is steady by plan varies by chance alone. Which requests are queued then depends on the pace as much as on the
# load, and among like ones a slow pace looks like little load. So it takes a load that was made to vary.
_VARIED = 4.0  # times the variance of Poisson arrivals
_BLOCKS = 20
# Of the highest load seen: where its effect may end. At less, the few requests after less load would decide.
_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_CLEARER = 4.0  # times the noise: chance alone explains so much in one of twenty cases
_TOLD = 1e-6  # of a limit's square


@dataclass(frozen=True)
class Haste:
    """``slope_s``: what one arrival a second and worker more adds to a time there, in seconds; below 0 it is faster.

    ``error_s`` is its standard error. A load beyond ``most``, arrivals a second and worker, changes nothing more.
    """

    slope_s: float
    error_s: float
    most: float

    def added_s(self, load: np.ndarray) -> np.ndarray:
        """What such loads (arrivals a second and worker) add to a time without any."""
        return self.slope_s * np.minimum(load, self.most)

    @property
    def full_s(self) -> float:
        """What full load adds, as a load that stays there does."""
        return self.slope_s * self.most

    def resampled(self, generator: np.random.Generator) -> Haste:
        """As another calibration could have shown it."""
        return replace(self, slope_s=self.slope_s + self.error_s * float(generator.standard_normal()))


NONE = Haste(0.0, 0.0, 0.0)


def loads(moments_s: np.ndarray, workers: int, memory_s: float = MEMORY_S) -> np.ndarray:
    """The arrivals a second and worker before each of some ascending moments of arrivals, the latest counting most."""
    kept = np.exp(-np.diff(moments_s) / memory_s)
    before = accumulate(kept.tolist(), lambda count, share: (count + 1) * share, initial=0.0)
    return np.fromiter(before, float, len(moments_s)) / (memory_s * workers) if len(moments_s) else np.empty(0)


def varied(slow: np.ndarray, workers: int) -> bool:
    """Whether slow loads vary more than those of a steady rate (Campbell's theorem: their variance is rate / (2 SLOW_S))."""
    return bool(slow.var() > _VARIED * slow.mean() / (2 * SLOW_S * workers))


def fit(strays_s: np.ndarray, limited: Callable[[float], np.ndarray], slow: np.ndarray, seen: float) -> Haste:
    """The haste behind ``strays_s``, by which times were longer or shorter, in order of time.

    ``limited`` gives the load beside each, none counted higher than a limit, ``slow`` the slow load; ``seen`` is the highest
    limit of which the requests can tell. From all three is taken what is usual for a request. The effect goes on to
    ``seen``, unless squares are clearly smaller where it ends before. The slow load is the slope's instrument (Wald, 1940):
    what strays have in common with it, over what the load has. The slope counts as far as it exceeds its noise (the
    positive-part estimator of James and Stein, 1961).
    """
    load = limited(seen)
    if not _varies(load, seen):
        return NONE
    found = _slope(strays_s, load, slow, seen)
    if not found.error_s:
        return NONE
    noise = found.error_s**2 * float(load @ load)  # what a slope explains where there is none, on average
    best = _explained(strays_s, load) + _CLEARER * noise
    for most in (share * seen for share in _SHARES):
        load = limited(most)
        if _varies(load, most) and _explained(strays_s, load) > best:
            found, best = _slope(strays_s, load, slow, most), _explained(strays_s, load)
    slope_s, error_s = found.slope_s, found.error_s
    return replace(found, slope_s=slope_s - error_s**2 / slope_s if abs(slope_s) > error_s else 0.0)


def _varies(load: np.ndarray, most: float) -> bool:
    """Whether there is more of a load than rounding, once what is usual is taken from one limited to ``most``."""
    return bool(load @ load > _TOLD * most**2 * len(load))


def _explained(strays_s: np.ndarray, load: np.ndarray) -> float:
    """How much smaller a slope over this load makes the sum of squares."""
    return float(load @ strays_s) ** 2 / float(load @ load)


def _slope(strays_s: np.ndarray, load: np.ndarray, slow: np.ndarray, most: float) -> Haste:
    """The slope by its instrument.

    The error leaves out a twentieth of the requests after the other (jackknife): in pieces of some seconds, neighbours that
    a wandering pace makes alike stay together.
    """
    pieces = zip(_blocks(slow), _blocks(load), _blocks(strays_s), strict=True)
    products = np.array([(z @ y, z @ x) for z, x, y in pieces])
    whole = products.sum(axis=0)
    others = whole - products
    if others[:, 1].min() <= _TOLD * whole[1] or whole[1] <= 0:  # one piece has all that varies
        return Haste(0.0, 0.0, most)
    without = others[:, 0] / others[:, 1]
    error = math.sqrt((_BLOCKS - 1) / _BLOCKS * float(((without - without.mean()) ** 2).sum()))
    return Haste(float(whole[0] / whole[1]), error, most)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return np.array_split(values, _BLOCKS)
