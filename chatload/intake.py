"""Intake: takes what generators report of the run that goes on, here or in workers, and says when it is hopeless."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chatload import keeper
from chatload.generator import Pulse
from chatload.keeper import Keeper
from chatload.locust_table import Table

logger = logging.getLogger("chatload")


class Intake:
    """Keeps ``run`` while there is one, in the process that is local or master; what comes later is dropped.

    ``table`` gets the rows of this process's own generator; ``hopeless`` is called when rows call for an end of the run,
    ``beaten`` after every pulse.
    """

    def __init__(self, table: Table, hopeless: Callable[[], None], beaten: Callable[[Keeper], None]) -> None:
        self.run: Keeper | None = None
        self._table = table
        self._hopeless = hopeless
        self._beaten = beaten

    # --- from this process's own generator (player.Reports) ------------------------------------------------------

    def keep(self, rows: bytes, labels: list[str], calls: bytes) -> None:
        self._table.take(rows)
        self._take(0, rows, labels, calls)

    def beat(self, pulse: Pulse) -> None:
        self._beat(keeper.LOCAL, 0, pulse.as_json())

    def end(self, facts: dict) -> None:
        self._table.flush()
        if self.run is not None:
            self.run.end(0, facts)

    # --- from workers: listeners of Locust's messages ------------------------------------------------------------

    def on_rows(self, environment: Any, msg: Any) -> None:
        if self.run is not None:
            self.run.workers.add(msg.node_id)
            self._take(*(msg.data[part] for part in ("worker", "rows", "labels", "calls")))

    def on_pulse(self, environment: Any, msg: Any) -> None:
        self._beat(msg.node_id, msg.data["worker"], msg.data)

    def on_end(self, environment: Any, msg: Any) -> None:
        if self.run is not None:
            self.run.end(msg.data["worker"], msg.data)
            self.run.ended.add(msg.node_id)

    def _beat(self, name: str, worker: int, pulse: dict) -> None:
        if self.run is not None:
            self.run.beat(name, worker, pulse)
            self._beaten(self.run)

    def _take(self, worker: int, rows: bytes, labels: list[str], calls: bytes) -> None:
        if self.run is None:
            return
        self.run.parts.append(worker, rows, labels, calls)
        if self.run.is_hopeless(rows):
            logger.warning("chatload: aborted: %s", self.run.header["aborted"])
            self._hopeless()

    # -------------------------------------------------------------------------------------------------------------

    def note_users(self, users: int) -> None:
        """There are so many users now."""
        if self.run is not None:
            self.run.note_users(users)

    def stop_watching(self) -> None:
        """The run ends anyway."""
        if self.run is not None:
            self.run.ending = True
