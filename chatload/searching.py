"""Searching: the capacity search that goes on in the process that is local or master, and how the last one ended.

It decides (search), makes probes (prober) and tells a load shape how many users to ask for; runs are made on a Stage.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chatload import capacity, keeper, runfolder, settings, verdict
from chatload.prober import Prober, Stage
from chatload.search import Search

_OUTCOMES = {capacity.FOUND: verdict.PASS, capacity.NONE: verdict.FAIL, capacity.UNDECIDED: verdict.INVALID}


class Searching:
    """One search at a time; ``guard`` wraps what its greenlet runs."""

    def __init__(self, stage: Stage, guard: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        self._stage = stage
        self._guard = guard
        self._search: Search | None = None
        self._prober: Prober | None = None  # while a search goes on

    @property
    def goes_on(self) -> bool:
        return self._prober is not None

    @property
    def state(self) -> dict | None:
        """How the last search stands (the content of capacity.json); None where there was none."""
        return None if self._search is None else runfolder.plain(self._search.state())

    def begin(self, wanted: settings.Settings, scenario: str) -> None:
        """Opens the search's folder and makes its probes, in a greenlet. Raises what search.Search raises."""
        folder = Path(wanted.results) if wanted.results else Path("results") / keeper.new_id(scenario)
        self._search = Search(folder, wanted, lambda line: print(line, flush=True))
        self._prober = Prober(self._search, self._stage)
        self._prober.spawn(self._guard)

    def tick(self) -> tuple[int, float] | None:
        """(users, users a second) that a load shape has to ask for: one until the search has begun, None at its end."""
        if self._prober is None or self._search is None:
            return 1, 1
        step = self._search.step
        if step is None:
            return None
        users = self._search.settings(step).streams
        return users, users

    def note_users(self, users: int) -> None:
        """There are so many users now."""
        if self._prober is not None:
            self._prober.users = users

    def end_probe_early(self) -> None:
        """The present probe is beyond hope."""
        if self._prober is not None:
            self._prober.end_probe_early()

    def abort(self, why: str) -> None:
        """Decides nothing more; the present probe is not waited for."""
        if self._search is not None:
            self._search.interrupt(why)

    def interrupt(self, why: str) -> None:
        """Ends the search where it goes on; returns when the present probe is drained and kept."""
        if self._prober is not None:
            self._prober.interrupt(why)

    def close(self) -> tuple[str, str]:
        """(report, verdict's outcome) of the search, which has ended."""
        assert self._search is not None
        self._prober = None
        return self._search.finish(), _OUTCOMES[self._search.outcome]
