"""Prober: makes the probes of a capacity search, one after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.event import Event

from chatload import capacity, objective, settings
from chatload.keeper import Keeper
from chatload.search import Search

_SNAPSHOT_S = 1.5  # until a snapshot shows what has happened
_SPAWN_S = 60.0


class Stage(Protocol):
    """Where a probe's run is made."""

    def latest(self) -> bytes:
        """The latest snapshot of the run that goes on (docs/reference/live.md); empty before the first."""

    def begin_probe(self, wanted: settings.Settings) -> Keeper:
        """Starts a run with the users that there are."""

    def end_probe(self) -> None:
        """Ends its arrivals, and returns when all answers are in or given up."""


class Prober:
    """Probes until ``search`` has ended. In a greenlet of its own (``spawn``).

    Whoever starts users has to say in ``users`` how many there are, once they have all been started.
    """

    def __init__(self, search: Search, stage: Stage) -> None:
        self.users = 0
        self._search = search
        self._stage = stage
        self._over = Event()
        self._greenlet: gevent.Greenlet | None = None

    def spawn(self, guard: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Starts; ``guard`` wraps what may raise."""
        self._greenlet = gevent.spawn(guard(self._probe_all))

    def end_probe_early(self) -> None:
        """The present probe is beyond hope."""
        self._over.set()

    def interrupt(self, why: str) -> None:
        """Ends the search where it goes on; returns when the present probe is drained and kept."""
        if self._greenlet is gevent.getcurrent():
            return
        self._search.interrupt(why)
        self._over.set()
        gevent.joinall([self._greenlet])

    def _probe_all(self) -> None:
        while (step := self._search.step) is not None:
            wanted = self._search.settings(step)
            self._await_users(wanted.streams)
            if not self._search.interrupted:
                self._probe(step, wanted)

    def _probe(self, step: capacity.Step, wanted: settings.Settings) -> None:
        """From the first arrival to the run's finished folder. The streams of the last probe stay."""
        self._over.clear()
        run = self._stage.begin_probe(wanted)
        self._await_verdict(step, wanted)
        run.header["interrupted"] = self._search.interrupted
        self._stage.end_probe()
        run.finish()
        self._search.take(run.folder, step)

    def _await_users(self, users: int) -> None:
        """Waits until there are as many users as the load shape asks for, or the search has ended."""
        deadline = time.monotonic() + _SPAWN_S
        while self.users != users and not self._search.interrupted:
            if time.monotonic() > deadline:
                self._search.interrupt(f"Locust did not start {users} users within {_SPAWN_S:g} s")
            gevent.sleep(0.05)

    def _await_verdict(self, step: capacity.Step, wanted: settings.Settings) -> None:
        """Waits until the probe is decided, beyond hope, or has had its time."""
        began_s = time.monotonic()
        for look_s in capacity.looks_s(step):
            if self._over.wait(max(began_s + wanted.warmup_s + look_s + _SNAPSHOT_S - time.monotonic(), 0)):
                return
            snapshot = self._stage.latest()
            if snapshot and capacity.is_decided(json.loads(snapshot)["verdict"], objective.parse(wanted.objective)):
                return
        self._over.wait(max(began_s + wanted.run_time_s - time.monotonic(), 0))
