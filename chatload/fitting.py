"""Fitting: the arrival process that reproduces a log's arrivals, and how well, by simulating it.

A candidate is played many times over the log's own span, and its simulated arrivals are described as the log's were: so both
have the same bias of a finite log, and the spread of the simulations says what chance does to a log of this length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from chatload import quantiles, timetable
from chatload.description import Burstiness, Traffic, burstiness, dispersion

NEAR = 0.05  # the relative error up to which a process reproduces a number
_LIKELY = 0.99  # of such logs have all their numbers within the intervals; one outside speaks against the process
_LEAST = 50  # arrivals in a log; fewer have no shape
_SIMULATED = 1_000_000  # arrivals a candidate, in all simulations together
_MOST_RUNS, _LEAST_RUNS = 200, 8
LEAST_BURSTS = 10  # in a log; fewer are no evidence that they come again and again
_PARTS = (6, 12, 24, 48, 96)
_LEAST_IN_A_PART = 20
_EVEN_CV = 0.01

Play = Callable[[np.random.SeedSequence], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Theory:
    """CV and dispersion by window of a process, in closed form."""

    cv: float
    dispersion: np.ndarray


@dataclass(frozen=True)
class Process:
    """An arrival process that could have made a log: its --arrivals option, and how to play it.

    ``weights`` are those of a profile, whose option is completed by the file that holds them; ``cycle_s`` is the mean time
    from burst to burst. ``theory`` gives CV and dispersion by window in closed form, where there is one.
    """

    name: str
    option: str
    play: Play
    weights: tuple[float, ...] = ()
    cycle_s: float = 0.0
    theory: Callable[[np.ndarray], Theory] | None = None


@dataclass(frozen=True)
class Candidate:
    """A process and what it comes to: ``means`` in the long run, and where 99 of 100 logs of this span have all numbers.

    ``low`` and ``high`` are simulated, and ``means`` too where no formula is known.
    """

    process: Process
    means: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    measured: dict[str, float]

    @property
    def errors(self) -> dict[str, float]:
        """By how much each mean is off the log's number, as a share of it."""
        return {name: self.means[name] / value - 1 if value else math.inf for name, value in self.measured.items()}

    @property
    def worst(self) -> float:
        return max(abs(error) for error in self.errors.values())

    @property
    def within(self) -> bool:
        """Whether every number is reproduced within NEAR."""
        return self.worst <= NEAR

    @property
    def likely(self) -> bool:
        """Whether each number is reproduced within NEAR, or lies where such a process puts it in 99 of 100 such logs."""
        return all(
            abs(error) <= NEAR or self.low[name] <= self.measured[name] <= self.high[name]
            for name, error in self.errors.items()
        )


@dataclass(frozen=True)
class Fit:
    """The candidates in order of simplicity, and the first that will do; ``chosen`` is None where only a replay does."""

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None


def fit(traffic: Traffic) -> Fit:
    """The simplest process of timetable.py that reproduces a log's arrivals."""
    tried: list[Candidate] = []
    if traffic.count < _LEAST:
        return Fit((), None)
    for process in _processes(traffic):
        tried.append(candidate(process, traffic))
        if tried[-1].likely:
            return Fit(tuple(tried), tried[-1])
    return Fit(tuple(tried), None)


def _processes(traffic: Traffic) -> Iterator[Process]:
    """From the simple to the particular; each is made only when those before it would not do."""
    rate, cv = traffic.rate, traffic.burstiness.cv
    if cv < _EVEN_CV:
        yield Process("constant", "constant", lambda seed: _even(rate, traffic.count))
        return
    yield poisson(rate)
    yield gamma(rate, round(cv, 3))
    if (found := onoff(traffic)) is not None:
        yield found
    for parts in _PARTS:
        if traffic.count / parts >= _LEAST_IN_A_PART:
            yield profile(traffic, parts)


def poisson(rate: float) -> Process:
    """Independent customers."""
    return Process(
        "poisson",
        "poisson",
        lambda seed: timetable.gamma(rate, 1.0, seed),
        theory=lambda windows_s: Theory(1.0, np.ones(len(windows_s))),
    )


def _even(rate: float, count: int) -> Iterator[np.ndarray]:
    yield np.arange(count + 1) / rate


def gamma(rate: float, cv: float) -> Process:
    """Independent gaps with the coefficient of variation of the log's."""
    return Process("gamma", f"gamma:cv={cv:g}", lambda seed: timetable.gamma(rate, cv, seed))


def profile(traffic: Traffic, parts: int) -> Process:
    """Poisson at a rate in steps: the log's own mean rate in each of equal ``parts`` of its span."""
    counts = np.histogram(traffic.offsets_s, parts, range=(0.0, traffic.span_s))[0]
    weights = tuple(float(count) for count in counts)

    def play(seed: np.random.SeedSequence) -> Iterator[np.ndarray]:
        return timetable.profile(traffic.rate, weights, traffic.span_s, 0.0, seed)

    return Process(f"profile, {parts} parts", "profile", play, weights)


def onoff(traffic: Traffic) -> Process | None:
    """Bursts: peak, on and off by least squares on the CV and the dispersion at many windows (theory).

    None where counts are no more dispersed than Poisson's, or where the bursts found are too few in the log to be any, or
    their calm is too short for an arrival to be missed in it.
    """
    windows_s, values = _dispersions(traffic)
    cv = traffic.burstiness.cv
    if len(windows_s) < 3 or values.max() <= 1 or cv <= 1:
        return None
    starts, cycle_s = _starts(traffic.span_s), math.inf
    for _ in range(_ROUNDS):
        weights = np.append(np.sqrt(np.minimum(cycle_s / windows_s, 1.0)), _CV_WEIGHT)
        best = _least_squares(traffic.rate, windows_s, np.append(values, cv), weights, starts)
        on_s, off_s, _ = _onoff_keys(best)
        starts, cycle_s = [best], on_s + off_s
    if traffic.span_s / cycle_s < LEAST_BURSTS or off_s * traffic.rate < 1:
        return None
    return onoff_of(traffic.rate, *_onoff_keys(best))


_FITTED_WINDOWS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
_ROUNDS = 3  # a window longer than a cycle of bursts is known the worse the longer it is; the cycle comes of the fit
_CV_WEIGHT = 3.0  # the CV is one number beside many dispersions, and better known than they are
_BOUNDS = ([-7.0, -7.0, 1e-3], [12.0, 14.0, 1.0])


def _least_squares(
    rate: float, windows_s: np.ndarray, values: np.ndarray, weights: np.ndarray, starts: list[np.ndarray]
) -> np.ndarray:
    from scipy import optimize  # a quarter of a second to import, which commands that fit nothing do without

    def errors(parameters: np.ndarray) -> np.ndarray:
        found = theory(rate, *_onoff_keys(parameters), windows_s)
        return weights * np.log(np.append(found.dispersion, found.cv) / values)

    seen = [optimize.least_squares(errors, start, bounds=_BOUNDS) for start in starts]
    return min(seen, key=lambda one: one.cost).x


def onoff_of(rate: float, on_s: float, off_s: float, height: float) -> Process:
    """Bursts as _onoff_keys has them. The peak has more digits than the times: the CV hangs on what little calm leaves."""
    on_s, off_s = float(f"{on_s:.4g}"), float(f"{off_s:.4g}")
    peak = math.floor((1 + height * off_s / on_s) * 1e6) / 1e6
    option = f"onoff:peak={peak:.10g},on={on_s:g}s,off={off_s:g}s"
    return Process(
        "onoff",
        option,
        lambda seed: timetable.onoff(rate, peak, on_s, off_s, seed),
        cycle_s=on_s + off_s,
        theory=lambda windows_s: theory(rate, on_s, off_s, (peak - 1) * on_s / off_s, windows_s),
    )


def _onoff_keys(parameters: np.ndarray) -> tuple[float, float, float]:
    """(on_s, off_s, height) of log on, log off and height: the peak's place from the mean rate (0) to silent calm (1)."""
    return math.exp(parameters[0]), math.exp(parameters[1]), float(parameters[2])


def _starts(span_s: float) -> list[np.ndarray]:
    cycles_s = [cycle_s for cycle_s in (1.0, 10.0, 100.0, 1_000.0, 10_000.0) if cycle_s <= span_s / LEAST_BURSTS] or [1.0]
    return [
        np.array([math.log(share * cycle_s), math.log((1 - share) * cycle_s), height])
        for cycle_s in cycles_s
        for share in (0.05, 0.3)
        for height in (0.5, 0.95)
    ]


def _dispersions(traffic: Traffic) -> tuple[np.ndarray, np.ndarray]:
    found = [(window_s, dispersion(traffic.offsets_s, traffic.span_s, window_s)) for window_s in _FITTED_WINDOWS_S]
    told = [(window_s, value) for window_s, value in found if value]
    return np.array([window_s for window_s, _ in told]), np.array([value for _, value in told])


def theory(rate: float, on_s: float, off_s: float, height: float, windows_s: np.ndarray) -> Theory:
    """What timetable.onoff comes to in the long run: CV of gaps, dispersion by window (Fischer and Meier-Hellstern, 1993).

    CV^2 = 1 + 2 p (1-p) d^2 / (r1 r2 + s r), with the two rates r1 and r2, and s, p, d and r as in timetable.onoff.
    """
    speed, share = 1 / on_s + 1 / off_s, on_s / (on_s + off_s)
    low = (1 - height) * rate
    high = (1 + height * off_s / on_s) * rate
    spread = share * (1 - share) * (high - low) ** 2
    mixing = 1 + np.expm1(-speed * windows_s) / (speed * windows_s)
    return Theory(
        math.sqrt(1 + 2 * spread / (high * low + speed * rate)),
        1 + 2 * spread / (speed * rate) * mixing,
    )


def candidate(process: Process, traffic: Traffic) -> Candidate:
    """A process simulated over a log's span, beside the log's numbers."""
    measured = traffic.burstiness.values
    runs = min(max(_SIMULATED // traffic.count, _LEAST_RUNS), _MOST_RUNS)
    found = [_simulated(process, traffic, number) for number in range(runs)]
    values = {name: np.array([one.values.get(name, math.nan) for one in found]) for name in measured}
    means = {name: float(np.nanmean(value)) for name, value in values.items()}
    outside = (1 - _LIKELY) / len(measured)  # of each number, so that all together are within so often (Bonferroni)
    reach = float(quantiles.student(1 - outside / 2, runs - 1)) * math.sqrt(1 + 1 / runs)
    apart = {name: reach * float(np.nanstd(value, ddof=1)) for name, value in values.items()}
    low, high = ({name: means[name] + side * apart[name] for name in means} for side in (-1, 1))
    return Candidate(process, means | _long_run(process, traffic), low, high, measured)


def _long_run(process: Process, traffic: Traffic) -> dict[str, float]:
    if process.theory is None:
        return {}
    windows_s = list(traffic.burstiness.dispersion)
    found = process.theory(np.array(windows_s, dtype=float))
    return Burstiness(found.cv, dict(zip(windows_s, found.dispersion.tolist(), strict=True))).values


def _simulated(process: Process, traffic: Traffic, number: int) -> Burstiness:
    blocks = timetable.until(process.play(np.random.SeedSequence((1, number))), traffic.span_s)
    times_s = np.concatenate(list(blocks))
    windows_s = list(traffic.burstiness.dispersion)
    return burstiness(times_s, traffic.span_s, windows_s)
