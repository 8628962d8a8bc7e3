"""Workers: the worker processes of a master, as a run needs them, and the messages between the two. No Locust."""

from __future__ import annotations

import time
from collections.abc import Set
from typing import Any, Protocol

import gevent

from chatload.keeper import Keeper
from chatload.settings import Settings

ROWS, PULSE, END = "chatload_rows", "chatload_pulse", "chatload_end"  # what a worker says (player.Reports)
PROBE, STOP = "chatload_probe", "chatload_stop"  # what its master says


class Runner(Protocol):
    """What is needed of Locust's master."""

    clients: Any  # by name; each has an id, which is its name, and a state

    def get_worker_index(self, client_id: str) -> int:
        """The number of a worker."""

    def send_message(self, msg_type: str, data: Any = None) -> None:
        """Says something to all workers."""


class Workers:
    """The workers of the master ``runner``; one that is lost has the state ``lost``."""

    def __init__(self, runner: Runner, lost: str) -> None:
        self._runner = runner
        self._lost = lost

    @property
    def names(self) -> set[str]:
        return set(self._runner.clients.keys())

    @property
    def numbers(self) -> list[int]:
        """In ascending order; what they send in (Keeper.beat) names them so."""
        return sorted(map(self._runner.get_worker_index, self._runner.clients))

    def start_probe(self, wanted: Settings, stream_rate: float) -> None:
        """Has all workers start a generator for a probe, with the streams that they have."""
        self._runner.send_message(PROBE, {"seed": wanted.seed, "run_time_s": wanted.run_time_s, "stream_rate": stream_rate})

    def end(self, run: Keeper, within_s: float) -> None:
        """Has all workers end their generators, and waits until each has said so, is lost, or takes far too long."""
        self._runner.send_message(STOP)
        deadline_s = time.monotonic() + within_s
        while self.present(run.workers) - run.ended and time.monotonic() < deadline_s:
            gevent.sleep(0.02)

    def present(self, names: Set[str]) -> set[str]:
        """Those of ``names`` that are not lost."""
        return {client.id for client in self._runner.clients.values() if client.id in names and client.state != self._lost}
