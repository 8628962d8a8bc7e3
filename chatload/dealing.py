"""Dealing: the timetable of a run, planned alike in all its processes, and the part that each of them sends.

What is planned depends on --arrivals and --sessions alone: docs/decisions/0301-dealt-timetables.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chatload import arrival_spec, session_spec, sessions, timetable, traces
from chatload.sessions import Law


@dataclass(frozen=True)
class Dealing:
    """A run's arrivals: which process, sessions of which law (None: every arrival is on its own), seeded with ``seed``.

    ``rate`` is the mean of all arrivals in a second; a trace has its own. Everything here may raise ArrivalsError for a
    file that cannot be read.
    """

    arrivals: arrival_spec.Spec
    sessions: Law | None
    rate: float
    seed: int

    @property
    def dealt(self) -> bool:
        """Whether there is a timetable at all; else each process plays a process of its own, at the rate of its streams."""
        return self.arrivals.dealt or self.sessions is not None

    @property
    def poisson(self) -> bool:
        """Whether the arrivals are a Poisson process of constant rate. Those of sessions are not: turns follow turns."""
        return self.arrivals.name == "poisson" and self.sessions is None

    def check(self) -> None:
        """Refuses a file that cannot be read, by its first arrivals."""
        traces.check(self.arrivals)

    def part(self, part: int, parts: int, end_s: float) -> Iterator[np.ndarray]:
        """What one of ``parts`` processes sends before ``end_s``: times, or turns of sessions (sessions.DTYPE)."""
        if self.sessions is None:
            return traces.part(self.arrivals, self.rate, self.seed, (part, parts), end_s)
        starts = timetable.until(self._starts(self.sessions), end_s)
        if self.arrivals.name == "trace":
            starts = traces.spooled(starts)
        turns = sessions.plan(starts, self.sessions, self.seed, part, parts)
        return sessions.until(sessions.in_order(turns), end_s)

    def mean_rate(self, end_s: float) -> float:
        """Arrivals per second of a run to ``end_s`` (0: without a planned end)."""
        if self.sessions is None:
            return traces.mean_rate(self.arrivals, self.rate, self.seed, end_s)
        if self.arrivals.name == "trace":
            starts_per_s = traces.mean_rate(self.arrivals, self.rate, self.seed, end_s)
            return self.counts(0.0, end_s, 1)[0] / end_s if end_s else starts_per_s * self.sessions.mean_turns
        return self.rate

    def counts(self, start_s: float, end_s: float, parts: int) -> list[int]:
        """How many arrivals each of ``parts`` parts has from ``start_s`` on and before ``end_s``."""
        if self.sessions is None:
            first, last = timetable.count_before(traces.plan(self.arrivals, self.rate, self.seed), (start_s, end_s))
            return [timetable.dealt_between(first, last, part, parts) for part in range(parts)]
        turns = sessions.plan(timetable.until(self._starts(self.sessions), end_s), self.sessions, self.seed, 0, 1)
        return sessions.count_between(turns, start_s, end_s, parts)

    def _starts(self, law: Law) -> Iterator[np.ndarray]:
        """When sessions begin: from one lookback before time 0 on. A trace begins with its first arrival."""
        if self.arrivals.name == "trace":
            return traces.plan(self.arrivals, self.rate, self.seed)
        shifted = traces.plan(self.arrivals, self.rate / law.mean_turns, self.seed, law.lookback_s)
        return (starts_s - law.lookback_s for starts_s in shifted)


def read(arrivals: str, of_sessions: str, rate: float, seed: int) -> Dealing:
    """The dealing that a run's options ask for. Raises ArrivalsError."""
    return Dealing(arrival_spec.parse(arrivals), session_spec.parse(of_sessions), rate, seed)
