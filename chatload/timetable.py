"""Timetable: the intended times of a whole run, planned from its seed and dealt over its generator processes.

For processes that are not closed under superposition: n independent bursty processes add up to one that is less bursty. So
every generator process plans the same whole timetable and keeps every n-th of it (docs/decisions/0301-dealt-timetables.md).
A timetable is an iterator of sorted float64 arrays, seconds since the run's epoch; it is never held as a whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

BLOCK = 512  # arrivals planned at a time, see arrivals._BLOCK


def seed(run_seed: int) -> np.random.SeedSequence:
    """The seed of a run's timetable, the same in all its processes; arrivals.seeds are children of it."""
    return np.random.SeedSequence(run_seed)


def constant(rate: float, seed: np.random.SeedSequence) -> Iterator[np.ndarray]:
    """Evenly spaced arrivals, the first after a uniform part of a gap."""
    phase = float(np.random.default_rng(seed).random())
    for first in itertools.count(0, BLOCK):
        yield (first + phase + np.arange(BLOCK)) / rate


def gamma(rate: float, cv: float, seed: np.random.SeedSequence) -> Iterator[np.ndarray]:
    """A renewal process with gamma gaps of mean 1/``rate`` seconds and coefficient of variation ``cv``.

    Gaps have shape 1/cv^2 and scale cv^2/rate; cv = 1 is Poisson. Counts over long windows have the index of dispersion
    cv^2 (Cox, Renewal Theory, 1962, ch. 3.3).
    """
    generator = np.random.default_rng(seed)
    reached_s = 0.0
    while True:
        times_s = reached_s + np.cumsum(generator.gamma(1 / cv**2, cv**2 / rate, size=BLOCK))
        reached_s = float(times_s[-1])
        yield times_s


def onoff(rate: float, peak: float, on_s: float, off_s: float, seed: np.random.SeedSequence) -> Iterator[np.ndarray]:
    """A Markov-modulated Poisson process of two states: bursts at ``peak`` times the mean ``rate``, calm between them.

    States last exponential times of mean ``on_s`` and ``off_s``; the calm rate makes the mean ``rate`` (see calm_share).
    It starts in either state as in the long run. Index of dispersion of counts over t seconds, with s = 1/on + 1/off,
    p = on/(on + off) and d the difference of the two rates: 1 + 2 p (1-p) d^2 / (s rate) * (1 - (1 - e^(-st))/(st))
    (Fischer and Meier-Hellstern, The MMPP cookbook, 1993).
    """
    generator = np.random.default_rng(seed)
    rates = {True: peak * rate, False: calm_share(peak, on_s, off_s) * rate}

    def segments() -> Iterator[tuple[float, float]]:
        on = bool(generator.random() < on_s / (on_s + off_s))
        while True:
            yield float(generator.exponential(on_s if on else off_s)), rates[on]
            on = not on

    return _piecewise(segments(), generator)


def calm_share(peak: float, on_s: float, off_s: float) -> float:
    """The rate between bursts in times the mean rate; negative where bursts alone exceed the mean."""
    share_on = on_s / (on_s + off_s)
    return (1 - peak * share_on) / (1 - share_on)


def profile(
    rate: float, weights: Sequence[float], span_s: float, start_s: float, seed: np.random.SeedSequence
) -> Iterator[np.ndarray]:
    """A non-homogeneous Poisson process: equal parts of ``span_s`` seconds, each at a rate in proportion to its weight.

    ``rate`` is the mean over the span, which is repeated without end; it begins ``start_s`` seconds into the span. Within a
    part the process is Poisson, and parts are independent (Cinlar, 1975, ch. 4.7).
    """
    part_s = span_s / len(weights)
    rates = [rate * weight * len(weights) / sum(weights) for weight in weights]

    def segments() -> Iterator[tuple[float, float]]:
        part, into_s = divmod(start_s % span_s, part_s)
        number = min(int(part), len(rates) - 1)
        yield part_s - into_s, rates[number]
        while True:
            number = (number + 1) % len(rates)
            yield part_s, rates[number]

    return _piecewise(segments(), np.random.default_rng(seed))


def _piecewise(segments: Iterator[tuple[float, float]], generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Poisson arrivals over segments of (seconds, rate). What is drawn beyond a segment is forgotten, as Poisson may."""
    start_s = 0.0
    for lasts_s, rate in segments:
        end_s, reached_s = start_s + lasts_s, start_s
        while rate > 0 and reached_s < end_s:
            times_s = reached_s + np.cumsum(generator.exponential(1 / rate, size=BLOCK))
            reached_s = float(times_s[-1])
            yield times_s[times_s < end_s]
        start_s = end_s


def trace(
    offsets: Iterable[np.ndarray],
    speed: float,
    scale: float,
    start_s: float,
    end_s: float,
    seed: np.random.SeedSequence,
) -> Iterator[np.ndarray]:
    """A trace replayed: ``offsets`` are sorted seconds since its first arrival, in blocks; exact at ``scale`` 1.

    Plays what lies in ``start_s`` <= offset < ``end_s``, ``speed`` times as fast. At another scale every arrival is kept
    floor(scale) times and once more with the probability of the rest (thinning: Cinlar, 1975, ch. 4.6); further copies fall
    uniformly between the arrival and the one before it, so that the rate follows the trace.
    """
    generator = np.random.default_rng(seed)
    before_s = start_s
    for block in offsets:
        if len(block) and block[0] >= end_s:
            return
        window = block[(block >= start_s) & (block < end_s)]
        if len(window):
            played = window if scale == 1 else _scaled(window, before_s, scale, generator)
            before_s = float(window[-1])
            yield (played - start_s) / speed


def _scaled(offsets: np.ndarray, before_s: float, scale: float, generator: np.random.Generator) -> np.ndarray:
    copies = math.floor(scale) + (generator.random(len(offsets)) < scale % 1)
    gaps_s = np.diff(offsets, prepend=before_s)
    originals = offsets[copies > 0]
    further = np.maximum(copies - 1, 0)
    spread = np.repeat(offsets, further) - generator.random(int(further.sum())) * np.repeat(gaps_s, further)
    return np.sort(np.concatenate([originals, spread]))


def deal(blocks: Iterable[np.ndarray], part: int, parts: int) -> Iterator[np.ndarray]:
    """Every ``parts``-th arrival, from number ``part`` on: what one of ``parts`` generator processes sends."""
    skip = part
    for block in blocks:
        yield block[skip::parts]
        skip = (skip - len(block)) % parts


def until(blocks: Iterable[np.ndarray], end_s: float) -> Iterator[np.ndarray]:
    """The arrivals before ``end_s``; takes no block that begins later than that but one."""
    for block in blocks:
        yield block[block < end_s]
        if len(block) and block[-1] >= end_s:
            return


def count_before(blocks: Iterable[np.ndarray], moments_s: Sequence[float]) -> list[int]:
    """How many arrivals come before each of some moments (finite, or the timetable must be)."""
    counts = np.zeros(len(moments_s), dtype=np.int64)
    for block in until(blocks, max(moments_s)):
        counts += np.searchsorted(block, moments_s)
    return counts.tolist()


def dealt_between(first: int, last: int, part: int, parts: int) -> int:
    """How many of the arrivals number ``first`` to ``last`` - 1 are those of a part."""
    return len(range(first + (part - first) % parts, last, parts))


class Timetable:
    """Plays a timetable where arrivals.Schedule plays a process; ``due_s`` is infinite once it is over."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._times = (time_s for block in blocks for time_s in block.tolist())
        self.due_s = next(self._times, math.inf)

    def set_rate(self, rate: float, at_s: float) -> None:
        """Changes nothing: a timetable's rate was planned with it, whatever the number of streams."""

    def advance(self) -> float:
        """Takes the pending arrival and returns its intended time."""
        due_s = self.due_s
        self.due_s = next(self._times, math.inf)
        return due_s
