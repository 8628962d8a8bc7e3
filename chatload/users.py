"""Users: how many Locust users a run has, which --rate decides where it is given, and what each of them offers."""

from __future__ import annotations

import math
from collections.abc import Callable

from chatload.orders import Orders
from chatload.settings import Settings, SettingsError


class Users:
    """Sets Locust's own options; ``restart`` edits the number of users of a run that is starting."""

    def __init__(self, orders: Orders, restart: Callable[[int], None]) -> None:
        self._orders = orders
        self._restart = restart
        self._planned_rate: float | None = None

    @property
    def _needed(self) -> int | None:
        """How many users --rate takes; None without one. What is no rate at all is refused where settings are read."""
        options = self._orders.options
        if not (0 < options.rate < math.inf and 0 < options.stream_rate < math.inf):
            return None
        return max(round(options.rate / options.stream_rate), 1)

    def plan(self) -> None:
        """Sets the number of users from --rate; they start at once, since a stream costs nearly nothing."""
        options, needed = self._orders.options, self._needed
        if needed is None:
            return
        options.num_users = needed
        options.spawn_rate = options.spawn_rate or options.num_users
        self._planned_rate = options.rate

    def check(self) -> None:
        """Refuses a number of users beside a rate that needs another. Raises settings.SettingsError."""
        options, needed = self._orders.options, self._needed
        if needed is not None and options.num_users not in (None, needed):
            raise SettingsError(
                f"--users {options.num_users}: --rate {options.rate:g} makes {needed} users of --stream-rate "
                f"{options.stream_rate:g}; leave --users out, or write --rate 0"
            )

    def settle(self, wanted: Settings) -> int:
        """How many users a run has that starts; settles what each of them offers.

        A rate typed into the web UI's form asks for another number of users than the form's own field says; the field
        that was changed wins.
        """
        options = self._orders.options
        users = options.num_users or 1
        if wanted.rate and wanted.rate != self._planned_rate:
            self._planned_rate = wanted.rate
            if users != wanted.streams:
                users = options.num_users = wanted.streams
                self._restart(users)
        exact = wanted.rate / users if wanted.rate and users == wanted.streams else wanted.stream_rate
        self._orders.set_stream_rate(exact)
        return users
