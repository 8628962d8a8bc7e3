"""Sessions: customers who write more than once.

Sessions start by an arrival process, each independent of the others. A session has a number of turns; between two of them
the customer reads the answer and thinks. All of it is planned before anything is sent: the next turn is intended one
expected answer time (``answer_s``, part of the plan) and one think time after the turn before was *intended*, never after
its answer came. A plan that waited for slow answers would ask less just when it should ask on: coordinated omission comes
back (docs/decisions/0312-a-slow-answer-does-not-move-the-plan.md).

A plan is an iterator of arrays of TURNS_DTYPE, never held as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from chatload.arrivals import ArrivalsError
from chatload.timetable import BLOCK

DTYPE = np.dtype([("intended_s", "<f8"), ("session", "<u4"), ("turn", "<u2")])
MOST_TURNS = 1_000  # of a session; what a law draws beyond is cut
_MOST_MEAN_TURNS = 100
_SEED_KEY = 0x5E55  # parts the chance of sessions from that of arrivals and utterances; no process has this number
_MISSING = 0.0008  # of the turns, those of sessions that began before the plan does
_TRIED = 65_536  # sessions, to see how far turns lie behind the start of theirs
_GATHERED = 64  # blocks planned at once before time 0, where nobody waits
_OVER = (math.inf, 0, 0)
_RUNS = 24  # sorted runs of turns that wait

Draw = Callable[[np.random.Generator, int], np.ndarray]  # (chance, how many) -> as many values


@dataclass(frozen=True)
class Law:
    """What sessions are like: ``turns`` draws their numbers of turns (mean ``mean_turns``), ``pauses`` the seconds from one
    intended time to the next. ``lookback_s`` is how long before time 0 a plan has to begin, so that less than 0.1 % of the
    turns is missing from it.
    """

    turns: Draw
    mean_turns: float
    pauses: Draw
    lookback_s: float = 0.0


class Turns(NamedTuple):
    """How many turns sessions have, and their mean."""

    draw: Draw
    mean: float


def law(turns: Turns, thinks: Draw, answer_s: float) -> Law:
    """The law of sessions with these turns and think times (seconds), where an answer is expected to take ``answer_s``."""

    def pauses(generator: np.random.Generator, count: int) -> np.ndarray:
        return thinks(generator, count) + answer_s

    found = Law(turns.draw, turns.mean, pauses)
    _, offsets_s, _ = _walk(found, _chances(np.random.SeedSequence(0)), np.zeros(_TRIED))
    return replace(found, lookback_s=float(np.quantile(offsets_s, 1 - _MISSING)))


# --- how many turns ------------------------------------------------------------------------------------------------


def lognormal_turns(mean: float, cv: float) -> Turns:
    """A lognormal rounded up, at most MOST_TURNS, so that the *rounded* count has this mean and coefficient of variation.

    Raises ArrivalsError where whole numbers cannot have them.
    """
    _check_mean(mean)
    if mean == 1:
        raise ArrivalsError("turns=1 is no session of several turns; write turns_dist=constant if that is meant")
    mu, sigma = _rounded_lognormal(mean, cv)
    return Turns(lambda generator, count: _whole(generator.lognormal(mu, sigma, count)), mean)


def geometric_turns(mean: float, _cv: float) -> Turns:
    """After every turn the customer goes on with the same probability: the coefficient of variation is sqrt(1 - 1/mean)."""
    _check_mean(mean)
    return Turns(lambda generator, count: _whole(generator.geometric(1 / mean, count)), mean)


def constant_turns(mean: float, _cv: float) -> Turns:
    """Every session has the same number of turns."""
    _check_mean(mean)
    if mean != int(mean):
        raise ArrivalsError(f"turns={mean:g}: with turns_dist=constant it is a whole number")
    return Turns(lambda generator, count: np.full(count, int(mean)), mean)


def _check_mean(mean: float) -> None:
    if not 1 <= mean <= _MOST_MEAN_TURNS:
        raise ArrivalsError(f"turns={mean:g}: write a mean of 1 to {_MOST_MEAN_TURNS}")


def _whole(counts: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(counts), 1, MOST_TURNS).astype(np.int64)


def _rounded_lognormal(mean: float, cv: float) -> tuple[float, float]:
    """(mu, sigma) of the lognormal that has this mean and coefficient of variation after rounding up."""

    def excess(sigma: float) -> float:
        return _moments(_mu(mean, sigma), sigma)[1] - cv

    narrow, wide = 0.01, 4.0
    if not (excess(narrow) <= 0 <= excess(wide)):
        least, most = excess(narrow) + cv, excess(wide) + cv
        raise ArrivalsError(f"turns_cv={cv:g}: with a mean of {mean:g} turns it is {least:.2g} to {most:.2g}")
    sigma = _root(excess, narrow, wide, 1e-6)
    return _mu(mean, sigma), sigma


def _mu(mean: float, sigma: float) -> float:
    """The mu at which a lognormal of this sigma has this mean after rounding up."""
    far = 10 * sigma + 1
    bounds = math.log(mean) - 1 - sigma * far, math.log(MOST_TURNS) + far
    return _root(lambda mu: _moments(mu, sigma)[0] - mean, *bounds, 1e-9)


def _root(function: Callable[[float], float], low: float, high: float, within: float) -> float:
    from scipy.optimize import brentq  # a quarter of a second to import, which runs without sessions do without

    return brentq(function, low, high, xtol=within)


def _moments(mu: float, sigma: float) -> tuple[float, float]:
    """Mean and coefficient of variation of a lognormal rounded up.

    E[N] is the sum of P(N > k) over k, E[N^2] that of (2k + 1) P(N > k).
    """
    above = np.arange(MOST_TURNS)
    share = np.append(1.0, special.ndtr((mu - np.log(above[1:])) / sigma))
    mean, square = float(share.sum()), float(((2 * above + 1) * share).sum())
    return mean, math.sqrt(max(square - mean**2, 0.0)) / mean


# --- how long between them -----------------------------------------------------------------------------------------


def lognormal_thinks(mean_s: float, cv: float) -> Draw:
    """Lognormal think times: sigma^2 = ln(1 + cv^2), mu = ln(mean) - sigma^2 / 2."""
    _check_think(mean_s)
    if not 0 < cv < math.inf:
        raise ArrivalsError(f"think_cv={cv:g}: write a number above 0")
    variance = math.log1p(cv**2)
    mu, sigma = math.log(mean_s) - variance / 2, math.sqrt(variance)
    return lambda generator, count: generator.lognormal(mu, sigma, count)


def exponential_thinks(mean_s: float, _cv: float) -> Draw:
    """Exponential think times."""
    _check_think(mean_s)
    return lambda generator, count: generator.exponential(mean_s, count)


def constant_thinks(mean_s: float, _cv: float) -> Draw:
    """Every pause is the same."""
    _check_think(mean_s)
    return lambda generator, count: np.full(count, mean_s)


def _check_think(mean_s: float) -> None:
    if mean_s <= 0:
        raise ArrivalsError("think=0s: nobody writes at the moment of the answer; write a time above 0")


TURNS: dict[str, Callable[[float, float], Turns]] = {
    "lognormal": lognormal_turns,
    "geometric": geometric_turns,
    "constant": constant_turns,
}
THINKS: dict[str, Callable[[float, float], Draw]] = {
    "lognormal": lognormal_thinks,
    "exponential": exponential_thinks,
    "constant": constant_thinks,
}


# --- the plan ------------------------------------------------------------------------------------------------------


def plan(
    starts: Iterable[np.ndarray], found: Law, run_seed: int, part: int, parts: int
) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds reached, turns) of one part of the sessions that begin at ``starts`` (sorted, in blocks), from time 0 on.

    All turns of a session are in one part, session number s in part s % ``parts``; numbers count from 1. Turns of a block
    are in no order of time, and none of a later block is intended before ``seconds reached``.
    """
    chances = _chances(np.random.SeedSequence(run_seed, spawn_key=(_SEED_KEY,)))
    first = 1
    for starts_s in _gathered(starts):
        owner, intended_s, turn = _walk(found, chances, starts_s)
        played = np.flatnonzero(intended_s >= 0)
        own = played[(owner[played] + first) % parts == part]
        turns = np.empty(len(own), dtype=DTYPE)
        turns["intended_s"], turns["session"], turns["turn"] = intended_s[own], owner[own] + first, turn[own]
        first += len(starts_s)
        yield float(starts_s[-1]), turns


class _Chances(NamedTuple):
    """One source for the numbers of turns and one for the pauses: so a session does not depend on how blocks are cut."""

    turns: np.random.Generator
    pauses: np.random.Generator


def _chances(seed: np.random.SeedSequence) -> _Chances:
    return _Chances(*map(np.random.default_rng, seed.spawn(2)))


def _walk(found: Law, chances: _Chances, starts_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(index of the session, intended time in seconds, turn) of all turns of sessions, session by session."""
    counts = found.turns(chances.turns, len(starts_s))
    owner = np.repeat(np.arange(len(starts_s)), counts)
    began = np.repeat(np.cumsum(counts) - counts, counts)
    turn = np.arange(1, len(owner) + 1) - began
    gaps_s = np.zeros(len(owner))
    later = turn > 1
    gaps_s[later] = found.pauses(chances.pauses, int(np.count_nonzero(later)))
    walked_s = np.cumsum(gaps_s)
    return owner, starts_s[owner] + (walked_s - walked_s[began]), turn


def _gathered(starts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks that have arrivals; those before time 0 many at once, which is faster."""
    held: list[np.ndarray] = []
    for block in starts:
        if len(block):
            held.append(block)
        if held and (held[-1][-1] >= 0 or len(held) == _GATHERED):
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def in_order(blocks: Iterable[tuple[float, np.ndarray]]) -> Iterator[np.ndarray]:
    """The turns of a plan in order of time, in blocks.

    What is due later waits in sorted runs. The shortest of them are merged when there are many, so that a turn is sorted
    a few times in all, and nobody ever waits for all turns to be.
    """
    runs: list[np.ndarray] = []
    for reached_s, turns in blocks:
        runs.append(_sorted([turns]))
        due = [run[: run["intended_s"].searchsorted(reached_s)] for run in runs]
        runs = [run[len(taken) :] for run, taken in zip(runs, due, strict=True) if len(taken) < len(run)]
        yield from _cut(_sorted(due))
        if len(runs) > _RUNS:
            runs.sort(key=len, reverse=True)
            runs[_RUNS // 2 :] = [_sorted(runs[_RUNS // 2 :])]
    if runs:
        yield from _cut(_sorted(runs))


def _sorted(pieces: list[np.ndarray]) -> np.ndarray:
    turns = np.concatenate(pieces)
    return turns[np.argsort(turns["intended_s"], kind="stable")]


def _cut(turns: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(turns), BLOCK):
        yield turns[first : first + BLOCK]


def until(blocks: Iterable[np.ndarray], end_s: float) -> Iterator[np.ndarray]:
    """The turns before ``end_s``, of blocks in order of time."""
    for turns in blocks:
        if len(turns) and turns["intended_s"][-1] >= end_s:
            yield turns[turns["intended_s"] < end_s]
            return
        yield turns


def count_between(blocks: Iterable[tuple[float, np.ndarray]], start_s: float, end_s: float, parts: int) -> list[int]:
    """How many turns of each part of a plan (all parts in one) are intended at ``start_s`` or later and before ``end_s``."""
    counts = np.zeros(parts, dtype=np.int64)
    for reached_s, turns in blocks:
        inside = (turns["intended_s"] >= start_s) & (turns["intended_s"] < end_s)
        counts += np.bincount(turns["session"][inside] % parts, minlength=parts)
        if reached_s >= end_s:
            break
    return counts.tolist()


class Timetable:
    """Plays turns where timetable.Timetable plays times; ``session`` and ``turn`` are those of what was taken last."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        columns = ([block[name].tolist() for name in DTYPE.names or ()] for block in blocks)
        self._turns = (turn for block in columns for turn in zip(*block, strict=True))
        self.session = self.turn = 0
        self._next()

    def set_rate(self, rate: float, at_s: float) -> None:
        """Changes nothing: the plan has its rate, whatever the number of streams."""

    def advance(self) -> float:
        """Takes the pending turn and returns its intended time."""
        due_s, self.session, self.turn = self._pending
        self._next()
        return due_s

    def with_turns(self, utterances: Iterator[tuple[int, int]]) -> Iterator[tuple[int, ...]]:
        """(utterance, variant, session, turn) of what was taken last, for each utterance drawn."""
        return ((*utterance, self.session, self.turn) for utterance in utterances)

    def _next(self) -> None:
        self._pending = next(self._turns, _OVER)
        self.due_s = self._pending[0]
