"""Arrivals: when utterances are due.

An arrival process is an endless iterator of *work*: points on an axis on which the process has rate one. A Schedule plays
it in real time at a rate that may change while it plays. Playing a unit-rate Poisson process at rate r(t) gives the
non-homogeneous Poisson process of rate r(t) (time rescaling, Cinlar 1975, ch. 4.7), so editing the number of streams in
the middle of a run needs no restart and loses no arrival.

n independent Poisson streams of rate s add up to one Poisson process of rate n*s (superposition), which is why one
Schedule serves all streams of a generator process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

_BLOCK = 512  # gaps drawn at a time: few enough that drawing them (about 10 us) delays no arrival noticeably


class ArrivalsError(ValueError):
    """An arrival process that cannot be made; the message says what was asked and what exists."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One planned request: its intended time in seconds since the run's epoch, and what is sent.

    ``utterance`` is an index into the run's utterances, ``variant`` 0 for the utterance as it stands. ``session`` and
    ``turn`` are 0 for an arrival on its own; turns count from 1. ``held_s`` is how long it waited for the answer to the
    turn before it. A struct, since one is made for every request and a named tuple takes three times as long.
    """

    intended_s: float
    utterance: int
    variant: int = 0
    session: int = 0
    turn: int = 0
    held_s: float = 0.0


def poisson(seed: np.random.SeedSequence) -> Iterator[float]:
    """Work at which the arrivals of a unit-rate Poisson process fall: independent exponential gaps of mean one."""
    generator = np.random.default_rng(seed)
    work = 0.0
    while True:
        for gap in generator.exponential(size=_BLOCK).tolist():
            work += gap
            yield work


def constant(seed: np.random.SeedSequence) -> Iterator[float]:
    """Work at which evenly spaced arrivals fall: gaps of one, the first after a uniform part of a gap.

    The random phase keeps several generator processes from sending in step.
    """
    work = float(np.random.default_rng(seed).random())
    while True:
        yield work
        work += 1.0


PROCESSES: dict[str, Callable[[np.random.SeedSequence], Iterator[float]]] = {"poisson": poisson, "constant": constant}


def process(name: str, seed: np.random.SeedSequence) -> Iterator[float]:
    """The arrival process called ``name``; ArrivalsError when there is none of that name."""
    if name not in PROCESSES:
        raise ArrivalsError(f"no arrival process called {name!r}: choose {' or '.join(sorted(PROCESSES))}")
    return PROCESSES[name](seed)


@dataclass(frozen=True)
class Seeds:
    """The named sources of chance of one generator process, so that each can be varied alone."""

    arrivals: np.random.SeedSequence
    utterances: np.random.SeedSequence
    noise: np.random.SeedSequence
    repeats: np.random.SeedSequence


def seeds(seed: int, worker: int) -> Seeds:
    """Independent seeds for generator process number ``worker`` of a run seeded with ``seed``."""
    # A new source goes to the end, or the others would change.
    return Seeds(*np.random.SeedSequence(seed, spawn_key=(worker,)).spawn(4))


class Schedule:
    """Plays a unit-rate process at a rate in arrivals per second, which may change at any moment.

    ``due_s`` is the intended time of the next arrival in seconds since the run's epoch; infinite while the rate is zero.
    """

    def __init__(self, work: Iterator[float]) -> None:
        self._work = work
        self._next_work = next(work)
        self._rate = 0.0
        self._since_s = 0.0
        self._done_work = 0.0
        self.due_s = math.inf

    @property
    def rate(self) -> float:
        """Arrivals per second now."""
        return self._rate

    def set_rate(self, rate: float, at_s: float) -> None:
        """From ``at_s`` on, play at ``rate`` arrivals per second. The pending arrival moves with it."""
        if rate < 0:
            raise ArrivalsError(f"a rate cannot be negative: {rate}")
        # Arrivals that are overdue keep their place: work already due cannot be moved behind it.
        reached = self._done_work + max(at_s - self._since_s, 0.0) * self._rate
        self._done_work = min(reached, self._next_work)
        self._since_s = at_s
        self._rate = rate
        self._set_due()

    def advance(self) -> float:
        """Takes the pending arrival and returns its intended time."""
        due_s = self.due_s
        self._next_work = next(self._work)
        self.due_s = self._since_s + (self._next_work - self._done_work) / self._rate
        return due_s

    def _set_due(self) -> None:
        remaining = self._next_work - self._done_work
        self.due_s = self._since_s + remaining / self._rate if self._rate > 0 else math.inf
