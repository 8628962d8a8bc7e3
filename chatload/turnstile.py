"""Turnstile: lets a turn pass once the turn before it was answered, since people answer answers.

A turn that is due while its session still waits is *held*. Its intended time stays, so what it waits here is part of its
latency; it is no lateness of the generator's, so ``held_s`` tells it apart (samples.lag_ms).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from msgspec import structs

from chatload.arrivals import Arrival


class Turnstile:
    """Stands between dispatcher and client: ``send`` takes arrivals of sessions, and hands on those that may go.

    ``done`` must be told of every arrival that was answered or failed. ``later`` calls a function with its arguments soon,
    but not now: who reports an answer is not ready for another request yet. ``now_s`` tells seconds since the run's epoch.
    """

    def __init__(self, send: Callable[[Arrival], None], later: Callable[..., Any], now_s: Callable[[], float]) -> None:
        self._send = send
        self._later = later
        self._now_s = now_s
        self._held: dict[int, list[tuple[Arrival, float]]] = {}  # by session, those that wait for an answer; with since when

    @property
    def holds(self) -> bool:
        """Whether any turn is held."""
        return any(self._held.values())

    def oldest_s(self) -> float:
        """The intended time of the oldest turn that is held; infinite when none is."""
        return min((held[0][0].intended_s for held in self._held.values() if held), default=math.inf)

    def send(self, arrival: Arrival) -> None:
        """Hands on an arrival, or holds it while its session waits for an answer."""
        held = self._held.get(arrival.session)
        if held is None:
            self._held[arrival.session] = []
            self._send(arrival)
        else:
            held.append((arrival, self._now_s()))

    def done(self, arrival: Arrival) -> None:
        """The arrival was answered, or never will be: its session's next turn may go."""
        held = self._held.get(arrival.session)
        if held:
            self._later(self._release, arrival.session)
        elif held is not None:
            del self._held[arrival.session]

    def close(self) -> list[Arrival]:
        """Holds nothing and hands on nothing any more; returns the turns that were still held."""
        now_s = self._now_s()
        left = [
            structs.replace(arrival, held_s=now_s - since_s) for held in self._held.values() for arrival, since_s in held
        ]
        self._held.clear()
        return left

    def _release(self, session: int) -> None:
        held = self._held.get(session)
        if held:
            arrival, since_s = held.pop(0)
            self._send(structs.replace(arrival, held_s=self._now_s() - since_s))
