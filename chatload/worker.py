"""Worker: a worker process's part in its master's runs: a generator, whose reports go to the master."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chatload import workers
from chatload.call_graph import CallGraph
from chatload.generator import Pulse
from chatload.guard import guarded
from chatload.locust_table import Table
from chatload.orders import Orders
from chatload.player import Player
from chatload.settings import Settings


class Worker:
    """Listens to Locust's ``environment`` and to the master of its runner; ``table`` gets the rows of samples too."""

    def __init__(self, environment: Any, graph: Callable[[], CallGraph | None], table: Table) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._orders = Orders(environment)
        self._graph = graph
        self._table = table
        self.player = Player(self)

    def listen(self) -> None:
        """From now on, takes part in runs."""
        happened = self._environment.events
        happened.test_start.add_listener(_logged(self._on_test_start))
        happened.test_stopping.add_listener(_logged(self._on_test_stopping))
        happened.quitting.add_listener(_logged(self._on_quitting))
        self._runner.register_message(workers.PROBE, _logged(self._on_probe))
        self._runner.register_message(
            workers.STOP, _logged(self._on_stop), concurrent=True
        )  # it drains, which takes a while

    def catch_up(self) -> None:
        """Takes part in a run that has started already."""
        _logged(self._on_test_start)()

    def keep(self, rows: bytes, labels: list[str], calls: bytes) -> None:
        """Takes rows from the generator (player.Reports)."""
        self._table.take(rows)
        report = {"worker": self._runner.worker_index, "rows": rows, "labels": labels, "calls": calls}
        self._runner.send_message(workers.ROWS, report)

    def beat(self, pulse: Pulse) -> None:
        """Takes a pulse from the generator."""
        self._runner.send_message(workers.PULSE, pulse.as_json())

    def end(self, facts: dict) -> None:
        """Takes the generator's final facts."""
        self._table.flush()
        self._runner.send_message(workers.END, facts)

    def _on_test_start(self, **_: Any) -> None:
        wanted = self._orders.read()
        if not self._orders.searching:  # a search's generators are started probe by probe
            self._play(wanted)

    def _on_probe(self, environment: Any, msg: Any) -> None:
        self._orders.set_stream_rate(msg.data["stream_rate"])
        self._play(replace(self._orders.read(), seed=msg.data["seed"], run_time_s=msg.data["run_time_s"]))

    def _play(self, wanted: Settings) -> None:
        self.player.start(wanted, self._graph(), self._orders.terms, max(self._runner.worker_index, 0))

    def _on_stop(self, environment: Any, msg: Any) -> None:
        self.player.end()

    def _on_test_stopping(self, **_: Any) -> None:
        self.player.end()

    def _on_quitting(self, **_: Any) -> None:
        self.player.end()
        self._environment.process_exit_code = 0


def _logged(listener: Callable[..., None]) -> Callable[..., None]:
    """The log is enough: the master misses what this process should have sent."""
    return guarded(listener, lambda why, mistake: None)
