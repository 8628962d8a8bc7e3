"""The turnstile under a virtual clock: a turn waits for the answer to the one before, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatload.arrivals import Arrival
from chatload.turnstile import Turnstile


class World:
    """A clock that moves when told, what was sent when, and what was put off for later."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sent: list[tuple[float, Arrival]] = []
        self.later: list[tuple] = []
        self.turnstile = Turnstile(self.send, lambda *call: self.later.append(call), lambda: self.now_s)

    def send(self, arrival: Arrival) -> None:
        self.sent.append((self.now_s, arrival))

    def due(self, at_s: float, session: int, turn: int) -> Arrival:
        self.now_s = max(self.now_s, at_s)
        arrival = Arrival(at_s, 0, 0, session, turn)
        self.turnstile.send(arrival)
        return arrival

    def done(self, at_s: float, arrival: Arrival) -> None:
        self.now_s = at_s
        self.turnstile.done(arrival)
        while self.later:
            call, *arguments = self.later.pop(0)
            call(*arguments)


def test_a_turn_whose_predecessor_was_answered_goes_at_once():
    world = World()
    world.done(0.4, world.due(0.0, 5, 1))
    world.due(1.0, 5, 2)
    assert world.sent == [(0.0, Arrival(0.0, 0, 0, 5, 1)), (1.0, Arrival(1.0, 0, 0, 5, 2))]


def test_turns_that_are_due_while_their_session_waits_are_held_and_go_one_by_one():
    world = World()
    first = world.due(0.0, 5, 1)
    world.due(1.0, 5, 2)
    world.due(2.0, 5, 3)
    world.due(2.5, 6, 1)
    assert [arrival.session for _, arrival in world.sent] == [5, 6]
    assert world.turnstile.holds
    world.done(4.0, first)
    world.done(4.5, world.sent[-1][1])
    assert world.sent[2:] == [(4.0, Arrival(1.0, 0, 0, 5, 2, held_s=3.0)), (4.5, Arrival(2.0, 0, 0, 5, 3, held_s=2.5))]
    assert not world.turnstile.holds


def test_a_turn_is_not_sent_by_whoever_reports_the_answer():
    world = World()
    first = world.due(0.0, 5, 1)
    world.due(1.0, 5, 2)
    world.turnstile.done(first)
    assert len(world.sent) == 1
    assert world.turnstile.holds


def test_a_late_generator_is_not_taken_for_a_held_turn():
    world = World()
    first = world.due(0.0, 5, 1)
    world.now_s = 3.0
    world.due(2.0, 5, 2)  # a second late
    world.done(7.0, first)
    assert world.sent[-1][1].held_s == 4.0


def test_at_the_end_what_is_held_is_handed_back_and_nothing_is_sent_any_more():
    world = World()
    first = world.due(0.0, 5, 1)
    world.due(1.0, 5, 2)
    world.turnstile.done(first)
    world.now_s = 9.0
    assert world.turnstile.close() == [Arrival(1.0, 0, 0, 5, 2, held_s=8.0)]
    world.done(9.0, first)
    assert len(world.sent) == 1
    assert not world.turnstile.holds


@given(st.lists(st.tuples(st.integers(1, 4), st.floats(0, 3), st.floats(0.01, 3)), max_size=40))
@example([(1, 0.0, 1.0), (2, 0.0, 1.0)])  # two that are done at the same moment
def test_no_two_turns_of_a_session_are_out_at_once_and_all_are_sent_in_order(plan):
    world, open_s, turns = World(), {}, {}

    def answer_until(at_s: float) -> None:
        while open_s and min(done_s for done_s, _ in open_s.values()) <= at_s:
            session = min(open_s, key=lambda key: open_s[key][0])
            done_s, arrival = open_s.pop(session)
            count = len(world.sent)
            world.done(done_s, arrival)
            note(count, done_s)

    def note(since: int, at_s: float) -> None:
        for _, arrival in world.sent[since:]:
            assert arrival.session not in open_s
            open_s[arrival.session] = (at_s + takes_s[arrival.session, arrival.turn], arrival)

    takes_s, now_s = {}, 0.0
    for session, gap_s, answer_s in plan:
        now_s += gap_s
        answer_until(now_s)
        turns[session] = turns.get(session, 0) + 1
        takes_s[session, turns[session]] = answer_s
        count = len(world.sent)
        world.due(now_s, session, turns[session])
        note(count, now_s)
    answer_until(float("inf"))
    for session, most in turns.items():
        assert [arrival.turn for _, arrival in world.sent if arrival.session == session] == list(range(1, most + 1))
    assert all(at_s - arrival.intended_s == pytest.approx(arrival.held_s) for at_s, arrival in world.sent)
    assert world.turnstile._held == {}
