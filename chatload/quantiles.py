"""Quantiles: the values below which a distribution has a given share, for intervals.

scipy.stats has them as well. It takes most of a second to import, which every run and every command would begin with.
"""

from __future__ import annotations

import math

from scipy import special


def normal(share: float) -> float:
    """Of the standard normal distribution."""
    return float(special.ndtri(share))


def student(share: float, freedom: float) -> float:
    """Of Student's t distribution with so many degrees of freedom."""
    return float(special.stdtrit(freedom, share))


def chi_squared(share: float, freedom: float) -> float:
    """Of the chi-squared distribution with so many degrees of freedom."""
    return 2 * float(special.gammaincinv(freedom / 2, share))


def beta(share: float, a: float, b: float) -> float:
    """Of the beta distribution."""
    return float(special.betaincinv(a, b, share))


def binomial(share: float, trials: int, chance: float) -> int:
    """Of the number of successes: the smallest that so many trials exceed with a probability of at most 1 - ``share``."""
    near = max(math.ceil(special.bdtrik(share, trials, chance)) - 1, 0)  # its root may be a little too large
    return near if special.bdtr(near, trials, chance) >= share else near + 1
