"""Orders: what the local process or the master settles for all processes of a run. It travels with Locust's options.

A master sends its options to its workers before each run, whatever has been set on them.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Protocol

from chatload import dealing, settings
from chatload.player import Terms


class Environment(Protocol):
    """What is needed of Locust's environment; both may change between runs."""

    host: str | None
    parsed_options: Namespace | None


class Orders:
    """Reads and sets the options of ``environment``."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @property
    def options(self) -> Namespace:
        options = self._environment.parsed_options
        assert options is not None
        return options

    def read(self) -> settings.Settings:
        """The settings of a run that starts now. Raises settings.SettingsError."""
        options = vars(self.options)
        run_time_s = options.get("planned_run_time_s", options.get("run_time"))
        return settings.read(options, self._environment.host, run_time_s)

    @property
    def searching(self) -> bool:
        """Whether what starts is a capacity search."""
        return self.options.searching

    def begin_run(self) -> None:
        self.options.searching = False

    def begin_search(self) -> None:
        """Its probes follow one another with streams of their own rate; there is no timetable."""
        self.options.searching = True
        self.options.dealt_to, self.options.dealt_rate = [], 0.0

    def set_stream_rate(self, stream_rate: float) -> None:
        """How many arrivals per second a stream offers: about --stream-rate, so that all streams together offer --rate."""
        self.options.stream_rate_exact = stream_rate

    @property
    def stream_rate(self) -> float:
        return self.options.stream_rate_exact

    def deal(self, wanted: settings.Settings, rate: float, workers: list[int]) -> float:
        """Deals the run's timetable, where it has one, to the workers with these numbers; returns its mean rate."""
        self.options.dealt_to, self.options.dealt_rate = workers, rate
        return dealing.read(wanted.arrivals, wanted.sessions, rate, wanted.seed).mean_rate(wanted.run_time_s)

    @property
    def terms(self) -> Terms:
        return Terms(self.options.stream_rate_exact, self.options.dealt_to, self.options.dealt_rate)
