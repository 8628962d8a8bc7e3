"""Users: how many there are, and that all of them together offer the rate."""

from __future__ import annotations

from argparse import Namespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import settings
from chatload.orders import Orders
from chatload.users import Users


class Run:
    """Locust's options, as the command line or the web UI's form left them, and what was asked of its runner."""

    def __init__(self, **options: object) -> None:
        usual = {option.name: option.default for option in settings.OPTIONS}
        self.host = "http://127.0.0.1:1"
        self.parsed_options = Namespace(**{**usual, "num_users": None, "spawn_rate": None, "run_time": None, **options})
        self.restarts: list[int] = []
        self.orders = Orders(self)
        self.users = Users(self.orders, self.restarts.append)

    def settle(self) -> int:
        return self.users.settle(self.orders.read())


@given(rate=st.floats(0.01, 50_000), stream_rate=st.floats(0.01, 100))
def test_all_users_together_offer_the_rate(rate, stream_rate):
    run = Run(rate=rate, stream_rate=stream_rate)
    run.users.plan()
    users = run.settle()
    assert users == run.parsed_options.num_users >= 1
    assert users * run.orders.stream_rate == pytest.approx(rate)
    assert run.parsed_options.spawn_rate == users
    assert run.restarts == []


def test_users_without_a_rate_offer_the_stream_rate():
    run = Run(num_users=7, stream_rate=2.5)
    run.users.plan()
    assert (run.settle(), run.orders.stream_rate) == (7, 2.5)


def test_a_rate_typed_into_the_form_asks_for_its_users():
    run = Run(rate=50.0)
    run.users.plan()
    run.parsed_options.rate = 120.0
    assert (run.settle(), run.orders.stream_rate, run.restarts) == (120, 1.0, [120])
    assert run.settle() == 120
    assert run.restarts == [120]


def test_users_typed_into_the_form_win_over_the_rate_of_the_command_line():
    run = Run(rate=50.0)
    run.users.plan()
    run.parsed_options.num_users = 80
    assert (run.settle(), run.orders.stream_rate, run.restarts) == (80, 1.0, [])
