"""Player: this process's generator, a new one for each run, driven by the streams that are counted here. No Locust."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gevent.event import Event

from chatload import call_graph, corpus_file, dealing, generator
from chatload.settings import Settings

logger = logging.getLogger("chatload")

DRAIN_GRACE_S = 30.0  # beyond the request timeout, for workers to hand over what they have


class Reports(Protocol):
    """Where the generator's reports go: into the run that is kept here, or to the master."""

    def keep(self, rows: bytes, labels: list[str], calls: bytes) -> None:
        """Takes rows of samples, the labels of their codes, and rows of calls."""

    def beat(self, pulse: generator.Pulse) -> None:
        """Takes a pulse; the rows that it speaks of came before it."""

    def end(self, facts: dict) -> None:
        """Takes the final facts (generator.Facts); nothing comes after them."""


@dataclass(frozen=True)
class Terms:
    """What the local process or the master has settled for all processes of a run.

    ``stream_rate`` is the arrivals per second of one stream. Where the run has a timetable, it is of ``dealt_rate`` arrivals
    per second and dealt to the workers with the numbers ``dealt_to``.
    """

    stream_rate: float
    dealt_to: list[int]
    dealt_rate: float


class Player:
    """Plays one run at a time, as ``worker`` of its processes."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._generator: generator.Generator | None = None
        self._streams = 0
        self._stream_rate = 1.0
        self._ended = Event()
        self._ended.set()  # there is nothing yet whose end could be waited for

    def start(self, wanted: Settings, graph: call_graph.CallGraph | None, terms: Terms, worker: int) -> None:
        """Plans this process's part of a run, which may take seconds, and then starts its clock."""
        plan = _plan(wanted, graph, terms, worker)
        self._stream_rate = terms.stream_rate
        self._generator = generator.Generator(plan, self._reports.keep, self._reports.beat)
        self._generator.start()
        self._generator.set_streams(self._streams, self._stream_rate)
        self._ended.clear()

    def add_streams(self, count: int) -> None:
        """Counts streams in, or out again; the generator follows at once."""
        self._streams += count
        if self._generator is not None:
            self._generator.set_streams(self._streams, self._stream_rate)

    def end(self) -> None:
        """Drains the generator and reports its facts, once; a second caller waits until the first is done."""
        ending, self._generator = self._generator, None
        if ending is None:
            self._ended.wait(DRAIN_GRACE_S)
            return
        ending.stop()
        self._reports.end(ending.facts.as_json())
        self._ended.set()


def _plan(wanted: Settings, graph: call_graph.CallGraph | None, terms: Terms, worker: int) -> generator.Plan:
    replayed = corpus_file.replayed(wanted)
    part, dealt = _dealt(wanted, terms, worker)
    return generator.Plan(
        url=wanted.host,
        token_file=wanted.token_file,
        tls=generator.Tls(wanted.ca_file, wanted.insecure),
        arrivals=wanted.arrivals,
        seed=wanted.seed,
        worker=worker,
        timeout_s=wanted.timeout_s,
        max_in_flight=wanted.max_in_flight,
        run_time_s=wanted.run_time_s,
        utterances=replayed.utterances,
        drawing=replayed.drawing,
        dealt=dealt,
        part=part,
        sessions=bool(wanted.sessions),
        graph=graph,
        stay_awake=wanted.stay_awake,
    )


def _dealt(wanted: Settings, terms: Terms, worker: int) -> tuple[int | None, Iterator[np.ndarray] | None]:
    """(number, arrivals) of this process's part in the run's timetable; a worker that came late has none of them."""
    asked = dealing.read(wanted.arrivals, wanted.sessions, terms.dealt_rate, wanted.seed)
    if not asked.dealt:
        return None, None
    if worker not in terms.dealt_to:
        logger.warning("chatload: this worker came after the run's arrivals had been dealt, and sends none of them")
        return None, iter(())
    part = terms.dealt_to.index(worker)
    return part, asked.part(part, len(terms.dealt_to), wanted.run_time_s or math.inf)
