"""Calibration: what a quiet run says of the server: the time of a request in a worker, and that of an answer beside it.

A sample has the moments at which a request was sent and answered, not those at which a worker took it and was free again.
Two kinds of requests tell them apart, given that ``workers`` serve one queue in order:

- *idle*: it was sent when a worker was free. Answered - sent is the time in a worker and the time beside it (network, front
  end) together.
- *back to back*: it was still queued when a worker became free. Answered - the answer that freed the worker is the time in
  the worker alone.

The medians of the two, less the server's own timings of each request, differ by the time beside the worker (``pass_s``). Of
the idle ones those after a short rest are taken for that: a core that has slept, or a cache that others have used, makes a
request after a long rest slower, which is time in the worker.

Back to back, a request behind one that was queued as well meets a worker in full swing: its caches hold the model, and its
core is awake and fast. ``swing`` compares such requests with the first ones of a queue, like lengths with like ones.

An answer that leaves late, because its worker already runs the next request on the same core, makes that next one look
short: what is far out of all others beside the server's timings is not taken for time in the worker (_winsorised).

A worker that has had more to do lately may be faster than another after the same rest (haste). Times that are long or short
for their length and state come in stretches: the machine's pace wanders (wander). A time drawn by itself is therefore first
freed of its haste and of the part of its stray that is the wander's; the simulation gives both back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace

import numpy as np

from chatload import haste, samples, simulation, wander
from chatload.haste import Haste
from chatload.units import format_share
from chatload.wander import Wander

HIGHEST_UTILISATION = 0.40
_FEWEST_IDLE = 300
_FEWEST_BACK_TO_BACK = 50
_MOST_UNANSWERED = 0.01
_LENGTH_GROUPS = 4
_REST_GROUPS = 6
_FAR_OUT = 3  # interquartile ranges beyond the quartiles: Tukey's outer fences
_LONGEST_REST_S = 1e3  # of a worker that has had no request yet
_SHORTEST = 0.05  # of the mean time: behind a late answer, a request may look as if it had taken none
_SEEN = 0.9  # the share of requests before which the load was lower: beyond it too few tell what it does


class CalibrationError(ValueError):
    """A run that no forecast can be made from; the message says why and what to do."""


@dataclass(frozen=True)
class Calibration:
    """What a run showed. Arrays have one value a request; those whose name ends in ``_s`` are in seconds.

    Of those that found a worker idle: ``rest_s``, for how long it had been, ``idle_s``, their whole time, ``idle_server_s``,
    the server's timings of them, and ``letters``, the length of their utterances in characters. Of those served back to
    back: ``queued_s``, their time in the worker, ``queued_server_s``, ``queued_letters``, and ``later``, whether the one
    before them on that worker had been queued too. ``idle_calm`` and ``queued_calm`` is what each time is multiplied with to
    free it of ``wander``; ``idle_load`` and ``queued_load`` the load before each, in arrivals a second and worker, which
    ``haste`` follows. ``idle_share`` is how many of all were idle ones, ``rate`` arrivals per second.
    """

    rest_s: np.ndarray
    idle_s: np.ndarray
    idle_server_s: np.ndarray
    letters: np.ndarray
    queued_s: np.ndarray
    queued_server_s: np.ndarray
    queued_letters: np.ndarray
    later: np.ndarray
    idle_calm: np.ndarray
    queued_calm: np.ndarray
    idle_load: np.ndarray
    queued_load: np.ndarray
    wander: Wander
    haste: Haste
    idle_share: float
    workers: int
    rate: float

    @property
    def separated(self) -> bool:
        """Whether enough requests were served back to back to tell the time in the worker from that beside it."""
        return len(self.queued_s) >= _FEWEST_BACK_TO_BACK

    @property
    def rests_s(self) -> np.ndarray:
        """Where the groups begin into which the idle requests are sorted by the worker's rest, up to six; the first at 0."""
        edges_s = np.unique(np.quantile(self.rest_s, np.arange(1, _REST_GROUPS) / _REST_GROUPS, method="lower"))
        return np.concatenate([[0.0], edges_s[edges_s > self.rest_s.min()]])

    @property
    def rest_group(self) -> np.ndarray:
        """The number of each idle request's group, from 1 on; none is empty."""
        return np.searchsorted(self.rests_s, self.rest_s, side="right")

    @property
    def pass_s(self) -> float:
        """What an answer takes beside its time in a worker; 0 where that could not be told apart.

        Negative where a worker is busy with a request for longer than its answer takes.
        """
        if not self.separated:
            return 0.0
        idle_s = (self.idle_s - self.idle_server_s)[self.rest_group == 1]
        return float(np.median(idle_s) - np.median(self.queued_s - self.queued_server_s))

    @property
    def occupied_s(self) -> np.ndarray:
        """For how long each idle request occupied a worker; never less than the server's own timings of it."""
        return np.maximum(self.idle_s - self.pass_s, self.idle_server_s)

    @property
    def swing(self) -> float:
        """The mean time of a later request of a queue over that of a first one of like length and load; 1 where unknown.

        The difference counts as far as it exceeds its noise (the positive-part estimator of James and Stein, 1961).
        """
        if min(np.count_nonzero(self.later), np.count_nonzero(~self.later)) < _FEWEST_BACK_TO_BACK:
            return 1.0
        terms = np.column_stack([np.ones(len(self.queued_s)), self.queued_letters])
        queued_s = self.queued_s - self.haste.added_s(self.queued_load)
        usual_s = terms @ np.linalg.lstsq(terms, queued_s)[0]  # least squares also where all lengths are the same
        strays = (queued_s - usual_s) / queued_s.mean()
        later, first = strays[self.later], strays[~self.later]
        difference = float(later.mean() - first.mean())
        noise = float(later.var() / len(later) + first.var() / len(first))
        return 1.0 if difference**2 <= noise else 1 + difference - noise / difference

    @property
    def swinging_s(self) -> np.ndarray:
        """What each request served back to back would have taken in a worker in full swing."""
        return np.where(self.later, self.queued_s, self.queued_s * self.swing)

    @property
    def busy_s(self) -> float:
        """The mean time in a worker that does not rest: that of full load."""
        times_s, load = (self.swinging_s, self.queued_load) if self.separated else (self.occupied_s, self.idle_load)
        return float((times_s - self.haste.added_s(load)).mean()) + self.haste.full_s

    @property
    def full_load(self) -> float:
        """The rate that keeps all workers busy, per second."""
        return self.workers / self.busy_s

    @property
    def utilisation(self) -> float:
        """The workers' share of time in use; more than ``rate`` is of full load where rest makes them slower."""
        queued_s = self.queued_s if self.separated else self.occupied_s
        mean_s = self.idle_share * float(self.occupied_s.mean()) + (1 - self.idle_share) * float(queued_s.mean())
        return self.rate * mean_s / self.workers

    def service(self, count: int, generator: np.random.Generator) -> simulation.Service:
        """Times in a worker for ``count`` arrivals, drawn from the requests that found one in the same state.

        They are those of a machine whose pace does not wander, without any load before.
        """
        occupied_s, rests_s = _calmed(self.occupied_s, self.idle_calm) - self.haste.added_s(self.idle_load), self.rests_s
        if not self.separated:
            return simulation.Service(generator.choice(occupied_s, size=(1, count)))
        group = self.rest_group
        swinging_s = _calmed(self.swinging_s, self.queued_calm) - self.haste.added_s(self.queued_load)
        states = [
            swinging_s,
            swinging_s / self.swing,
            *(occupied_s[group == number] for number in range(1, len(rests_s) + 1)),
        ]
        return simulation.Service(np.array([generator.choice(times_s, size=count) for times_s in states]), rests_s.tolist())

    def pace(self, moments_s: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What is added to such times on one instance that gets arrivals at ``moments_s``, and how many times it takes."""
        return self.haste.added_s(haste.loads(moments_s, self.workers)), self.wander.factors(moments_s, generator)

    def resampled(self, generator: np.random.Generator) -> Calibration:
        """Another run as this one could have been (bootstrap): the same number of requests of each kind, drawn anew."""
        idle = generator.integers(len(self.idle_s), size=len(self.idle_s))
        queued = generator.integers(max(len(self.queued_s), 1), size=len(self.queued_s))
        return replace(
            self,
            rest_s=self.rest_s[idle],
            idle_s=self.idle_s[idle],
            idle_server_s=self.idle_server_s[idle],
            letters=self.letters[idle],
            queued_s=self.queued_s[queued],
            queued_server_s=self.queued_server_s[queued],
            queued_letters=self.queued_letters[queued],
            later=self.later[queued],
            idle_calm=self.idle_calm[idle],
            queued_calm=self.queued_calm[queued],
            idle_load=self.idle_load[idle],
            queued_load=self.queued_load[queued],
            haste=self.haste.resampled(generator),
        )

    def by_length(self) -> list[tuple[int, float]]:
        """(longest utterance in characters, median time in a worker) for up to four groups of like size, shortest first."""
        edges = np.unique(np.quantile(self.letters, np.arange(1, _LENGTH_GROUPS + 1) / _LENGTH_GROUPS, method="higher"))
        groups = np.searchsorted(edges, self.letters)
        return [(int(edge), float(np.median(self.occupied_s[groups == number]))) for number, edge in enumerate(edges)]


def calibrate(rows: np.ndarray, lengths: Sequence[int], workers: int, start_s: float, end_s: float) -> Calibration:
    """What the rows (samples.DTYPE) of a run say of a server with ``workers`` workers; ``lengths`` are its utterances'.

    The measured window is from ``start_s`` to ``end_s``. Raises CalibrationError.
    """
    return calibrate_in(rows, lengths, workers, [(start_s, end_s)])


def calibrate_in(
    rows: np.ndarray, lengths: Sequence[int], workers: int, windows: Sequence[tuple[float, float]]
) -> Calibration:
    """The same of a run that is a calibration in some ``windows`` of its time, of (start_s, end_s) each, ascending."""
    rows = rows[np.argsort(rows["sent_s"], kind="stable")]  # what was never sent comes last
    answered = samples.answered(rows)
    inside = within(rows["intended_s"], windows)
    _check_answers(rows, answered, inside)
    rows, inside = rows[answered], inside[answered]
    letters = np.asarray(lengths)[rows["utterance"]]
    server_s = (rows["tokenize_ms"].astype(float) + rows["infer_ms"]) / 1e3
    free_s = _free_s(rows["done_s"], workers)
    load, slow = (haste.loads(rows["sent_s"], workers, memory_s) for memory_s in (haste.MEMORY_S, haste.SLOW_S))
    whole_s = rows["done_s"] - rows["sent_s"]
    idle = inside & (rows["sent_s"] >= free_s)
    if np.count_nonzero(idle) < _FEWEST_IDLE:
        raise CalibrationError(
            f"only {np.count_nonzero(idle)} of its requests found a worker idle, at least {_FEWEST_IDLE} are needed: "
            "calibrate for longer, at a lower rate"
        )
    # A request sent just before a worker became free may still have been on its way: only what surely waited counts.
    queued = inside & (free_s - rows["sent_s"] > np.median((whole_s - server_s)[idle]))
    queued_s = server_s[queued] + _winsorised((rows["done_s"] - free_s - server_s)[queued])
    found = Calibration(
        np.minimum(rows["sent_s"] - free_s, _LONGEST_REST_S)[idle],
        whole_s[idle],
        server_s[idle],
        letters[idle],
        queued_s,
        server_s[queued],
        letters[queued],
        (_in_a_row(rows["sent_s"] < free_s) > workers)[queued],
        np.ones(np.count_nonzero(idle)),
        np.ones(np.count_nonzero(queued)),
        load[idle],
        load[queued],
        wander.STEADY,
        haste.NONE,
        np.count_nonzero(idle) / np.count_nonzero(inside),
        workers,
        np.count_nonzero(inside) / math.fsum(end_s - start_s for start_s, end_s in windows),
    )
    _check_queue(found)
    _check_utilisation(found)
    shown = np.concatenate([np.flatnonzero(idle), np.flatnonzero(queued)])
    return _with_pace(found, rows["sent_s"][shown], slow[shown] if haste.varied(slow[inside], workers) else None)


def within(moments_s: np.ndarray, windows: Sequence[tuple[float, float]]) -> np.ndarray:
    """Which moments lie in one of some windows (start_s, end_s), as a boolean array of the same length."""
    inside = np.zeros(len(moments_s), bool)
    for start_s, end_s in windows:
        inside |= (moments_s >= start_s) & (moments_s < end_s)
    return inside


def _check_answers(rows: np.ndarray, answered: np.ndarray, inside: np.ndarray) -> None:
    if not np.any(inside & answered):
        raise CalibrationError("no request in its measured window was answered")
    unanswered = 1 - float(np.mean(answered[inside]))
    if unanswered > _MOST_UNANSWERED:
        raise CalibrationError(
            f"{format_share(unanswered)} of its requests got no answer, and how long they held a worker is unknown: "
            "calibrate at a lower rate"
        )
    if np.isnan(rows["infer_ms"][answered]).any() or np.isnan(rows["tokenize_ms"][answered]).any():
        raise CalibrationError(
            "not all of its answers have the server's timings: serve what sends Server-Timing (CONTRACT.md)"
        )


def _free_s(done_s: np.ndarray, workers: int) -> np.ndarray:
    """For each request in order of sending, the answer from which on a worker was free: the workers-th latest before it."""
    latest_s = [-np.inf] * workers
    free_s = []
    for answered_s in done_s.tolist():
        free_s.append(latest_s[0])
        if answered_s > latest_s[0]:
            heapreplace(latest_s, answered_s)
    return np.array(free_s)


def _in_a_row(queued: np.ndarray) -> np.ndarray:
    """For each request in order of sending, how many in a row were queued, itself among them."""
    number = np.arange(1, len(queued) + 1)
    return number - np.maximum.accumulate(np.where(queued, 0, number))


def _winsorised(values: np.ndarray) -> np.ndarray:
    """The same values with those beyond Tukey's outer fences moved to them; the mean of exponential ones loses 1 %."""
    if not len(values):
        return values
    lower, upper = np.quantile(values, [0.25, 0.75])
    far = _FAR_OUT * (upper - lower)
    return np.clip(values, lower - far, upper + far)


def _with_pace(found: Calibration, moments_s: np.ndarray, slow: np.ndarray | None) -> Calibration:
    """The same with its wander, what frees each time of that, and its haste, where the ``slow`` load is one that varied.

    Both are of the requests that found a worker idle, and then of the others.
    """
    order = np.argsort(moments_s, kind="stable")
    times_s, load = _in_workers_s(found), np.concatenate([found.idle_load, found.queued_load])

    def limited(most: float) -> np.ndarray:
        return _strays(found, np.minimum(load, most))[order]

    hastening = haste.NONE
    if slow is not None:
        # More than full load was not seen for longer than a queue lasts.
        seen = min(1 / found.busy_s, float(np.quantile(load, _SEEN)))
        strays_s = _winsorised(_strays(found, times_s))[order]
        hastening = haste.fit(strays_s, limited, _strays(found, slow)[order], seen)
    unloaded_s = np.maximum(times_s - hastening.added_s(load), _SHORTEST * times_s.mean())
    strays = _strays(found, np.log(unloaded_s))
    wandering = wander.fit(moments_s[order], strays[order])
    left = math.sqrt(max(1 - wandering.variance / strays.var(), 0.0)) if wandering.variance else 1.0
    idle_calm, queued_calm = np.split(np.exp((left - 1) * strays), [len(found.idle_s)])
    return replace(found, haste=hastening, wander=wandering, idle_calm=idle_calm, queued_calm=queued_calm)


def _in_workers_s(found: Calibration) -> np.ndarray:
    """The times in a worker; first of the requests that found it idle."""
    return np.concatenate([found.occupied_s, found.queued_s])


def _strays(found: Calibration, values: np.ndarray) -> np.ndarray:
    """Values of the requests, in that order, less what is usual for a request's state and length."""
    letters = np.concatenate([found.letters, found.queued_letters]).astype(float)
    state = np.concatenate([found.rest_group + 1, found.later])  # 0 and 1: a first and a later one of a queue
    terms = np.column_stack([letters, letters**2, *(state == number for number in range(state.max() + 1))])
    return values - terms @ np.linalg.lstsq(terms, values)[0]


def _calmed(times_s: np.ndarray, calm: np.ndarray) -> np.ndarray:
    """Times freed of the wander, with the same mean."""
    freed_s = times_s * calm
    return freed_s * (times_s.mean() / freed_s.mean())


def _check_queue(found: Calibration) -> None:
    """Refuses a server whose answers follow one another faster than its workers can have worked."""
    if found.separated and np.median(found.queued_s - found.queued_server_s) < 0:
        raise CalibrationError(
            f"{len(found.queued_s)} of its requests waited for a worker, and most were answered sooner after the answer "
            "before them than the server says it worked on them: it held answers back, or has more than "
            f"{found.workers} workers (--workers)"
        )


def _check_utilisation(found: Calibration) -> None:
    if found.utilisation > HIGHEST_UTILISATION:
        raise CalibrationError(
            f"its workers were {format_share(found.utilisation)} busy, at most {format_share(HIGHEST_UTILISATION)} will do: "
            f"calibrate at {HIGHEST_UTILISATION / 2 / found.utilisation * found.rate:.3g}/s"
        )
