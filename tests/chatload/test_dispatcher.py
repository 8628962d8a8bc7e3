"""The dispatcher under a virtual clock: no test here waits."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import arrivals
from chatload.dispatcher import Dispatcher

EPOCH_S = 1_000.0


class World:
    """A clock that only moves when told, an alarm that remembers, an event loop that can wait if it should, and the list of
    what was sent when. A wake-up comes ``delay_s`` late, and sending takes ``send_s``.
    """

    def __init__(
        self, process: str = "constant", end_s: float = math.inf, patient: bool = False, send_s: float = 0.0
    ) -> None:
        self.now_s = EPOCH_S
        self.armed_s = math.inf
        self.sent: list[tuple[float, float]] = []
        self.delay_s = 0.0
        self.send_s = send_s
        self.patient = patient
        self.wakes_s: list[float] = []  # how long each took
        schedule = arrivals.Schedule(arrivals.process(process, arrivals.seeds(1, 0).arrivals))
        self.dispatcher = Dispatcher(
            schedule,
            ((index, 0) for index in itertools.count()),
            self.send,
            lambda: self.now_s,
            EPOCH_S,
            end_s,
            self.can_wait,
        )
        self.dispatcher.start(self)

    def arm(self, at_s: float) -> None:
        self.armed_s = at_s

    def disarm(self) -> None:
        self.armed_s = math.inf

    def send(self, arrival: arrivals.Arrival) -> None:
        assert arrival.utterance == len(self.sent)
        self.sent.append((arrival.intended_s, self.now_s - EPOCH_S))
        self.now_s += self.send_s

    def can_wait(self) -> bool:
        return self.patient

    def sleep(self, until_s: float) -> None:
        self.now_s = max(self.now_s, until_s)

    def pass_time(self, until_s: float) -> None:
        """Runs the alarm as an event loop would, each wake-up ``delay_s`` late."""
        while self.armed_s + self.delay_s <= until_s:
            self.now_s = woken_s = max(self.armed_s + self.delay_s, self.now_s)
            self.dispatcher.wake()
            self.wakes_s.append(self.now_s - woken_s)
        self.now_s = until_s


def test_nothing_is_sent_without_a_rate():
    world = World()
    world.pass_time(EPOCH_S + 10)
    assert world.sent == []


def test_every_arrival_is_sent_at_its_intended_time():
    world = World("poisson")
    world.dispatcher.set_rate(50)
    world.pass_time(EPOCH_S + 10)
    assert len(world.sent) == pytest.approx(500, abs=80)
    assert all(sent_s == pytest.approx(intended_s) for intended_s, sent_s in world.sent)


def test_a_late_wake_up_shows_as_lag_and_loses_nothing():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 5)
    before = len(world.sent)
    world.now_s = EPOCH_S + 7  # the process was held for two seconds
    world.dispatcher.wake()
    late = world.sent[before:]
    assert len(late) == 20
    assert [intended_s for intended_s, _ in late] == pytest.approx([late[0][0] + i / 10 for i in range(20)])
    assert {sent_s for _, sent_s in late} == {7.0}


def test_the_plan_does_not_drift_when_every_wake_up_is_late():
    world = World()
    world.delay_s = 0.03
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 100)
    assert len(world.sent) == pytest.approx(1_000, abs=1)


def test_the_rate_changes_at_once():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 10)
    world.dispatcher.set_rate(100)
    world.pass_time(EPOCH_S + 20)
    assert len(world.sent) == pytest.approx(1_100, abs=2)
    world.dispatcher.set_rate(0)
    world.pass_time(EPOCH_S + 30)
    assert len(world.sent) == pytest.approx(1_100, abs=2)


def test_a_backlog_leaves_room_for_answers():
    world = World()
    world.dispatcher.set_rate(1_000)
    world.now_s = EPOCH_S + 1
    world.dispatcher.wake()
    assert 0 < len(world.sent) < 100
    assert world.armed_s < world.now_s  # due at once, after the event loop has had its turn


def test_the_plan_ends_on_time_by_itself():
    world = World(end_s=2.0)
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 5)
    assert len(world.sent) == 20
    assert world.dispatcher.stopped_s == 2.0


def test_the_run_ends_at_the_first_arrival_that_a_hold_up_before_the_stop_has_kept_back():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 1)
    world.now_s = EPOCH_S + 1.5
    assert world.dispatcher.stop() == pytest.approx(world.sent[-1][0] + 0.1)


def test_after_the_stop_nothing_is_sent():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 1)
    assert world.dispatcher.stop() == pytest.approx(1.0)
    assert len(world.sent) == 10
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 5)
    world.dispatcher.wake()
    assert len(world.sent) == 10
    assert world.dispatcher.stop() == pytest.approx(1.0)


def test_near_arrivals_are_waited_for_without_the_loop_while_it_can_wait():
    world = World(patient=True)
    world.dispatcher.set_rate(4_500)
    world.pass_time(EPOCH_S + 1)
    assert all(sent_s == pytest.approx(intended_s) for intended_s, sent_s in world.sent)
    assert len(world.sent) == pytest.approx(4_500, abs=10)
    assert len(world.wakes_s) == pytest.approx(900, abs=10)  # five arrivals in a millisecond


def test_a_loop_that_cannot_wait_has_its_turn_after_each_arrival():
    world = World()
    world.dispatcher.set_rate(4_000)
    world.pass_time(EPOCH_S + 0.1)
    assert len(world.wakes_s) == len(world.sent) > 390
    world.patient = True  # from now on: it is asked each time
    world.pass_time(EPOCH_S + 0.2)
    assert len(world.wakes_s) < 0.7 * len(world.sent)


@given(rate=st.floats(100, 30_000), send_us=st.floats(0, 60), delay_us=st.floats(0, 200))
def test_the_loop_gets_its_turn_and_nothing_is_early_out_of_order_or_left_out(rate, send_us, delay_us):
    world = World("poisson", patient=True, send_s=send_us * 1e-6)
    world.delay_s = delay_us * 1e-6
    world.dispatcher.set_rate(rate)
    world.pass_time(EPOCH_S + 0.1)
    world.dispatcher.stop()
    most_s = 1e-3 + 32 * world.send_s  # the last wait, and a burst of what has become overdue
    assert max(world.wakes_s) <= most_s + 1e-9
    planned = arrivals.Schedule(arrivals.process("poisson", arrivals.seeds(1, 0).arrivals))
    planned.set_rate(rate, 0.0)
    assert [intended_s for intended_s, _ in world.sent] == [planned.advance() for _ in world.sent]
    assert all(sent_s >= intended_s - 1e-9 for intended_s, sent_s in world.sent)


def test_who_is_behind_leaves_it_to_the_loop_to_read_the_answers():
    world = World(patient=True)
    world.dispatcher.set_rate(10_000)
    world.now_s = EPOCH_S + 0.00105  # ten are overdue
    world.dispatcher.wake()
    assert len(world.sent) == 10
    assert world.now_s == EPOCH_S + 0.00105
    assert world.armed_s == pytest.approx(EPOCH_S + 0.0011)


def test_the_end_of_the_plan_is_kept_while_waiting_without_the_loop():
    world = World(end_s=0.0101, patient=True)
    world.dispatcher.set_rate(4_000)
    world.pass_time(EPOCH_S + 0.1)
    assert len(world.sent) == 40
    assert (world.dispatcher.stopped_s, world.armed_s) == (0.0101, math.inf)


def test_what_becomes_due_during_the_loops_turn_is_sent_in_it():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 1.05)
    armed_s, before = world.armed_s, len(world.sent)
    due_s = armed_s - EPOCH_S
    world.dispatcher.catch_up()
    assert len(world.sent) == before  # nothing is due
    world.now_s = armed_s + 0.02
    world.dispatcher.catch_up()
    world.dispatcher.catch_up()
    assert world.sent[before:] == [pytest.approx((due_s, due_s + 0.02))]
    assert world.armed_s == armed_s  # it rings, which sets it anew
    world.pass_time(armed_s + 0.15)
    assert world.sent[before + 1 :] == [pytest.approx((due_s + 0.1, due_s + 0.1))]


def test_only_a_few_are_sent_during_a_turn_of_the_loop():
    world = World()
    world.dispatcher.set_rate(10)
    world.pass_time(EPOCH_S + 1)
    before = len(world.sent)
    world.now_s = EPOCH_S + 2
    for _ in range(10):
        world.dispatcher.catch_up()
    assert len(world.sent) == before + 2
    world.dispatcher.wake()
    assert len(world.sent) == before + 10


def test_who_is_behind_sends_nothing_during_the_loops_turn():
    world = World()
    world.dispatcher.set_rate(1_000)
    world.now_s = EPOCH_S + 0.0205
    world.dispatcher.wake()
    sent = len(world.sent)
    assert sent == 20
    world.now_s = EPOCH_S + 0.0225
    world.dispatcher.catch_up()
    assert len(world.sent) == sent
    world.dispatcher.wake()  # two: no longer behind
    world.now_s = EPOCH_S + 0.0235
    world.dispatcher.catch_up()
    assert len(world.sent) == sent + 3


def test_nothing_is_sent_during_the_loops_turn_after_the_end_or_the_stop():
    ending, stopped = World(end_s=1.05), World()
    for world in (ending, stopped):
        world.dispatcher.set_rate(10)
        world.pass_time(EPOCH_S + 1)
    stopped.dispatcher.stop()
    for world in (ending, stopped):
        world.now_s = EPOCH_S + 1.2
        world.dispatcher.catch_up()
        assert len(world.sent) == 10
    ending.dispatcher.wake()
    assert ending.dispatcher.stopped_s == 1.05
