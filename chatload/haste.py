"""Haste: how the time in a worker follows the load of the last moments, whatever the worker's own rest and queue.

TorchServe with MiniLM took 8 to 10 % less for a request in each 5 s at 60 % of its full load than in the 5 s at 20 % before
and after, be it after 20 ms of rest or behind a queue; it fell and rose within about a second (decision 0413). The load is
told by arrivals: these do not depend on how fast a worker is, as its own busy time would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

MEMORY_S = 0.5  # what came so long ago counts 1/e of what comes now
# A rate that is steady by plan varies by chance alone. Which requests are queued then depends on the pace as much as on the
# load, and among like ones a slow pace looks like little load. So it takes a load that was made to vary.
_VARIED = 4.0  # times the variance of Poisson arrivals
_BLOCKS = 20
_SURE = 2.86  # standard errors: 99 % of Student's t with 19 degrees of freedom


@dataclass(frozen=True)
class Haste:
    """``slope``: the logarithm of the pace that one more arrival a second brings, with its standard error.

    ``most``: the arrivals a second that keep a worker busy; beyond them it can't be busier. All are of one worker.
    """

    slope: float
    error: float
    most: float

    def factors(self, load: np.ndarray) -> np.ndarray:
        """How many times as long as without any load things take after such loads (loads)."""
        return np.exp(self.slope * np.minimum(load, self.most))

    def resampled(self, generator: np.random.Generator) -> Haste:
        """As another calibration could have shown it."""
        return replace(self, slope=self.slope + self.error * float(generator.standard_normal()))


NONE = Haste(0.0, 0.0, 0.0)


def loads(moments_s: np.ndarray, workers: int) -> np.ndarray:
    """The arrivals a second and worker before each of some ascending moments of arrivals, the latest counting most."""
    kept = np.exp(-np.diff(moments_s) / MEMORY_S)
    before = accumulate(kept.tolist(), lambda count, share: (count + 1) * share, initial=0.0)
    return np.fromiter(before, float, len(moments_s)) / (MEMORY_S * workers) if len(moments_s) else np.empty(0)


def varied(load: np.ndarray, workers: int) -> bool:
    """Whether loads vary more than those of a steady rate (Campbell's theorem: their variance is rate / (2 MEMORY_S))."""
    return bool(load.var() > _VARIED * load.mean() / (2 * MEMORY_S * workers))


def fit(strays: np.ndarray, load: np.ndarray, most: float) -> Haste:
    """The haste behind ``strays``, logarithms of what took longer or shorter, in order of time, beside ``load``.

    Both are what is left when that which is usual for a request is taken out. The standard error leaves out a twentieth of
    the time after the other (jackknife). NONE where it does not exclude, at 99 %, that there is none.
    """
    products = np.array([(x @ y, x @ x) for x, y in zip(_blocks(load), _blocks(strays), strict=True)])
    whole = products.sum(axis=0)
    if not whole[1]:
        return NONE
    slope = float(whole[0] / whole[1])
    others = whole - products
    without = others[:, 0] / others[:, 1]
    error = math.sqrt((_BLOCKS - 1) / _BLOCKS * float(((without - without.mean()) ** 2).sum()))
    return Haste(slope, error, most) if abs(slope) > _SURE * error else NONE


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return np.array_split(values, _BLOCKS)
