"""Turns: plays each arrival as a turn, a graph of model calls. It stands where the client of a plain run stands.

A call is sent in the callback of the answer that it waited for: nothing is polled, nothing blocks. A call that fails fails
the turn with its outcome, at once; calls not yet sent are not sent, those already out run to their end and are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from chatload import samples
from chatload.arrivals import Arrival
from chatload.call_graph import CHECKED, CallGraph
from chatload.client import Client


class _Answer(NamedTuple):
    """What came of one call, as Record.sample takes it."""

    sent_s: float
    done_s: float
    predicted: int
    outcome: int
    tokenize_ms: float
    infer_ms: float
    size: int
    tokens: int


class _Turn:
    """A turn that goes on: its arrival, the answers so far by the number of their call, what each call still waits for."""

    __slots__ = ("answers", "arrival", "intended_s", "number", "over", "waiting")

    def __init__(self, arrival: Arrival, number: int, graph: CallGraph) -> None:
        self.arrival = arrival
        self.number = number
        self.over = False
        self.answers: dict[int, _Answer] = {}
        self.intended_s = [arrival.intended_s + arrival.held_s] * len(graph.names)
        self.waiting = [len(others) for others in graph.waits_for]


class Call(NamedTuple):
    """What a client is given to send: an arrival as far as the client reads it, and the turn that it belongs to."""

    intended_s: float
    utterance: int
    variant: int
    turn: _Turn


class Turns:
    """Sends the calls of each turn and writes one sample a turn, and a row of calls.ROW for each call.

    ``client`` makes the client of a call from its name and from what is to be told of each answer; ``record`` takes an
    arrival and what came of it (Record.sample), ``keep`` the fields of calls.ROW.
    """

    def __init__(
        self,
        graph: CallGraph,
        client: Callable[[str, Callable[..., None]], Client],
        record: Callable[..., None],
        keep: Callable[..., None],
    ) -> None:
        self._graph = graph
        self._record = record
        self._keep = keep
        self._started = 0
        self._going: dict[int, Arrival] = {}
        self.done: Callable[[Arrival], None] | None = None  # told of every arrival that has its sample
        self._checked = graph.names.index(CHECKED)
        self._clients = [client(name, partial(self._answered, call)) for call, name in enumerate(graph.names)]

    @property
    def in_flight(self) -> int:
        """Calls that are out."""
        return sum(client.in_flight for client in self._clients)

    @property
    def stamped(self) -> bool:
        """Whether the kernel told when the last answers came."""
        return all(client.stamped for client in self._clients)

    def oldest_s(self) -> float:
        """The intended time of the oldest turn that goes on; infinite when none does."""
        return min((arrival.intended_s for arrival in self._going.values()), default=math.inf)

    def send(self, arrival: Arrival) -> None:
        """Starts the turn of an arrival now."""
        turn = _Turn(arrival, self._started, self._graph)
        self._started += 1
        self._going[turn.number] = arrival
        for call in self._graph.roots:
            self._send(turn, call)

    def record_unsent(self, arrival: Arrival, outcome: int) -> None:
        """Appends the sample of an arrival of which no call was sent."""
        never = samples.NEVER
        self._record(arrival, never, never, samples.NOT_PREDICTED, outcome, never, never, 0, 0)

    def expire(self) -> None:
        """Ends the calls that have waited longer than the timeout, each counted from its own sending."""
        for client in self._clients:
            client.expire()

    def abandon(self) -> None:
        """Ends all turns that go on as unfinished, and closes every connection."""
        for client in self._clients:
            client.abandon()

    def _send(self, turn: _Turn, call: int) -> None:
        if not turn.over:
            arrival = turn.arrival
            self._clients[call].send(Call(turn.intended_s[call], arrival.utterance, arrival.variant, turn))

    def _answered(self, call: int, sent: Call, *fields: Any) -> None:
        """A call has ended, with what Record.sample takes of an answer; the rest of the turn follows from that."""
        turn = sent.turn
        answer = turn.answers[call] = _Answer(*fields)
        if turn.over:
            self._keep_call(turn, call, False)
        elif answer.outcome > samples.WRONG:
            self._fail(turn, answer)
        elif len(turn.answers) == len(self._graph.names):
            self._finish(turn)
        else:
            self._send_followers(turn, call, answer.done_s)

    def _send_followers(self, turn: _Turn, call: int, done_s: float) -> None:
        for follower in self._graph.followers[call]:
            turn.waiting[follower] -= 1
            if not turn.waiting[follower]:
                turn.intended_s[follower] = done_s
                self._send(turn, follower)

    def _finish(self, turn: _Turn) -> None:
        """All calls of a turn have answered: its server times are those of its critical path."""
        answers = turn.answers
        path = self._graph.critical([answers[call].done_s for call in range(len(answers))])
        for call in answers:
            self._keep_call(turn, call, call in path)
        checked = answers[self._checked]
        outcome = max(answer.outcome for answer in answers.values())
        tokenize_ms = sum(answers[call].tokenize_ms for call in path)
        infer_ms = sum(answers[call].infer_ms for call in path)
        self._end(turn, answers[path[-1]].done_s, checked.predicted, outcome, tokenize_ms, infer_ms, checked.tokens)

    def _fail(self, turn: _Turn, answer: _Answer) -> None:
        for call in turn.answers:
            self._keep_call(turn, call, False)
        never = samples.NEVER
        self._end(turn, answer.done_s, samples.NOT_PREDICTED, answer.outcome, never, never, 0)

    def _end(
        self, turn: _Turn, done_s: float, predicted: int, outcome: int, tokenize_ms: float, infer_ms: float, tokens: int
    ) -> None:
        turn.over = True
        del self._going[turn.number]
        times_s = [answer.sent_s for answer in turn.answers.values() if not math.isnan(answer.sent_s)]
        sent_s = min(times_s, default=samples.NEVER)
        size = sum(answer.size for answer in turn.answers.values())
        self._record(turn.arrival, sent_s, done_s, predicted, outcome, tokenize_ms, infer_ms, size, tokens)
        if self.done is not None:
            self.done(turn.arrival)

    def _keep_call(self, turn: _Turn, call: int, critical: bool) -> None:
        answer = turn.answers[call]
        self._keep(
            turn.number,
            turn.arrival.intended_s,
            call,
            turn.intended_s[call],
            answer.sent_s,
            answer.done_s,
            answer.outcome,
            answer.predicted,
            answer.tokenize_ms,
            answer.infer_ms,
            critical,
        )
