"""Player: one generator after the other, its part of a timetable, and an end that is waited for once there is one."""

from __future__ import annotations

import sys

import gevent
import numpy as np
import pytest

from chatload import dealing, samples, settings
from chatload.player import Player, Terms

HANGS_S = 10.0


class Reports:
    """Keeps what a player's generator reports."""

    def __init__(self) -> None:
        self.rows = b""
        self.facts: list[dict] = []

    def keep(self, rows: bytes, labels: list[str], calls: bytes) -> None:
        self.rows += rows

    def beat(self, pulse: object) -> None:
        pass

    def end(self, facts: dict) -> None:
        self.facts.append(facts)


def wanted(host: str, **options: object) -> settings.Settings:
    usual = {option.name: option.default for option in settings.OPTIONS}
    return settings.read({**usual, "warmup": "0s", **options}, host, 0.5)


def test_an_end_without_a_generator_is_not_waited_for():
    with gevent.Timeout(HANGS_S):
        Player(Reports()).end()


def test_streams_that_came_before_the_generator_drive_it(stand_in):
    reports = Reports()
    player = Player(reports)
    player.add_streams(3)
    player.add_streams(-1)
    player.start(wanted(stand_in("null")), None, Terms(100.0, [], 0.0), 4)
    player.add_streams(1)
    player.end()
    player.end()  # there is nothing left to be drained
    assert [(fact["worker"], fact["part"]) for fact in reports.facts] == [(4, None)]
    assert [rate for _, rate in reports.facts[0]["rates"]] == [200.0, 300.0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a timer that does without sleep")
@pytest.mark.parametrize(("told", "name"), [("no", "timerfd"), ("yes", "timerfd, awake")])
def test_the_generator_stays_awake_as_the_settings_say(stand_in, told, name):
    reports = Reports()
    player = Player(reports)
    player.start(wanted(stand_in("null"), stay_awake=told), None, Terms(100.0, [], 0.0), 0)
    player.end()
    assert reports.facts[0]["timer"] == name


@pytest.mark.parametrize(("worker", "part"), [(2, 0), (5, 1), (7, None)])
def test_a_worker_sends_the_part_of_the_timetable_that_was_dealt_to_it(stand_in, worker, part):
    """Number 7 came late: all had been dealt, and it sends nothing."""
    law, reports = "turns=2,think=100ms", Reports()
    player = Player(reports)
    player.start(wanted(stand_in("null"), sessions=law), None, Terms(1.0, [2, 5], 100.0), worker)
    gevent.sleep(0.7)
    player.end()
    planned = dealing.read("poisson", law, 100.0, 1)
    due = [] if part is None else np.concatenate(list(planned.part(part, 2, 0.5)))["intended_s"]
    assert np.array_equal(np.sort(samples.from_bytes(reports.rows)["intended_s"]), np.sort(due))
    assert reports.facts[0]["part"] == part
