"""Controls: what the live page shows of Locust's options and asks of its runner (live_page.Session)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gevent

from chatload import search, settings
from chatload.keeper import Keeper
from chatload.searching import Searching


class Session(Protocol):
    """Who keeps the runs. ``mistake`` is the user's in the last run, or nothing."""

    mistake: str
    searching: Searching

    @property
    def run(self) -> Keeper | None:
        """The run that goes on."""

    def latest(self) -> bytes:
        """The last snapshot; empty before the first."""


class Controls:
    """The controls of Locust's ``environment``; ``begin_search`` starts the load shape of a search within an objective."""

    def __init__(self, environment: Any, session: Session, begin_search: Callable[[str], None]) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._session = session
        self._begin_search = begin_search

    def latest(self) -> bytes:
        """The last snapshot."""
        return self._session.latest()

    def controls(self) -> dict[str, Any]:
        """What they begin with."""
        options = vars(self._environment.parsed_options)
        stream_rate = options["stream_rate"] if self._session.run is None else options["stream_rate_exact"]
        return {
            "state": self._runner.state,
            "mistake": self._session.mistake,
            "host": self._environment.host or "",
            "rate": options["rate"] or (options["num_users"] or 1) * stream_rate,
            "stream_rate": stream_rate,
            "objective": options["objective"],
            "warmup": options["warmup"],
            "run_time": f"{options['run_time'] or 60}s",
        }

    def change_rate(self, rate: float) -> None:
        """Locust's own /swarm would do it too, but it forgets the run time of a run that it edits."""
        if self._session.run is None:
            raise ValueError("no run goes on; start one")
        users = max(round(rate / self._environment.parsed_options.stream_rate_exact), 1)
        gevent.spawn(self._runner.start, users, users)

    @property
    def search(self) -> dict | None:
        """How the last search stands (the content of capacity.json); None where there was none."""
        return self._session.searching.state

    def start_search(self, wanted: str) -> None:
        """Starts a search for the capacity within an objective. Raises one of admission.MISTAKES."""
        options = {**vars(self._environment.parsed_options), "objective": wanted}
        search.plan(settings.read(options, self._environment.host, None))
        self._begin_search(wanted)

    def stop_search(self) -> None:
        """Ends the search that goes on; its probes are kept."""
        gevent.spawn(self._runner.stop)
