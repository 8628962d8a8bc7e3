"""Turns against real sockets: what is sent when, what a failed call does, and what is recorded of it."""

from __future__ import annotations

import socket
import threading
import time

import gevent
import numpy as np
import pytest

from chatload import calls, contract, samples
from chatload.arrivals import Arrival
from chatload.call_graph import parse
from chatload.client import Client, Target
from chatload.record import Record
from chatload.turns import Turns
from tests.chatload.models import Models

CALLS = {"language": [], "scope": ["language"], "intent": ["scope"], "act": ["scope"]}
LABELS = {"language": "english", "scope": "in_scope", "intent": "greet", "act": "question"}


class Trial:
    """Turns of a graph against a port, with the samples and the calls that they leave."""

    def __init__(self, graph: dict, port: int, timeout_s: float = 5.0, max_in_flight: int = 100) -> None:
        self.graph = parse(graph)
        self._record, self._calls = Record(), Record(calls.ROW)
        self._port, self._timeout_s, self._max_in_flight = port, timeout_s, max_in_flight
        self.epoch_s = time.perf_counter()
        self.turns = Turns(self.graph, self._client, self._record.sample, self._calls.append)

    def _client(self, name, record):
        return Client(
            gevent.get_hub().loop,
            Target(socket.AF_INET, ("127.0.0.1", self._port), "localhost", None),
            contract.Requests(["hello"], f"http://127.0.0.1:{self._port}", "", model=name),
            lambda utterance, predicted: (samples.OK, len(name)),
            record,
            time.perf_counter,
            self.epoch_s,
            self._timeout_s,
            self._max_in_flight,
        )

    def play(self, *arrivals: Arrival, within_s: float = 5.0):
        """Sends turns and waits for their calls; returns (samples, calls by name of the first turn)."""
        for arrival in arrivals or [Arrival(time.perf_counter() - self.epoch_s, 0, 0, 4, 2, 0.0)]:
            self.turns.send(arrival)
        deadline_s = time.monotonic() + within_s
        while self.turns.in_flight and time.monotonic() < deadline_s:
            gevent.sleep(0.005)
            self.turns.expire()
        self.turns.abandon()
        rows = np.frombuffer(self._calls.take(), dtype=calls.DTYPE)
        by_name = {self.graph.names[row["call"]]: row for row in rows if row["arrival"] == 0}
        return samples.from_bytes(self._record.take()), by_name


def outcomes(by_name):
    return {name: samples.outcome_name(int(row["outcome"])) for name, row in by_name.items()}


def test_a_turn_is_done_when_its_last_call_is_and_each_call_is_due_when_what_it_waits_for_is_done(scripted):
    held = threading.Event()
    models = Models(LABELS, lambda name: held.wait(5) if name == "act" else held.set() if name == "intent" else None)
    rows, by_name = Trial(CALLS, scripted(models).port).play()
    (row,) = rows
    assert row["sent_s"] == by_name["language"]["sent_s"]
    assert row["done_s"] == max(call["done_s"] for call in by_name.values())
    assert by_name["language"]["intended_s"] == row["intended_s"]
    assert by_name["scope"]["intended_s"] == by_name["language"]["done_s"]
    assert by_name["intent"]["intended_s"] == by_name["act"]["intended_s"] == by_name["scope"]["done_s"]
    assert all(call["intended_s"] <= call["sent_s"] <= call["done_s"] for call in by_name.values())
    on_path = {name for name, call in by_name.items() if call["critical"]}
    assert on_path == {"language", "scope", max(("intent", "act"), key=lambda name: by_name[name]["done_s"])}
    assert (row["outcome"], row["predicted"], row["tokens"]) == (samples.OK, len("intent"), 5)
    assert (row["session"], row["turn"]) == (4, 2)
    # The server's times are those of the three calls that the turn waited for.
    assert (row["tokenize_ms"], row["infer_ms"]) == (0.75, 4.5)


def test_calls_that_wait_for_the_same_are_out_together(scripted):
    """Each of the two is answered only when the other one has been asked as well."""
    both = threading.Barrier(2, timeout=5)
    models = Models(LABELS, lambda name: both.wait() if name in ("intent", "act") else None)
    rows, _ = Trial(CALLS, scripted(models).port).play()
    assert [samples.outcome_name(int(row["outcome"])) for row in rows] == ["ok"]


def test_turns_do_not_wait_for_each_other(scripted):
    all_asked = threading.Barrier(3, timeout=5)
    models = Models(LABELS, lambda name: all_asked.wait() if name == "language" else None)
    rows, _ = Trial(CALLS, scripted(models).port).play(*[Arrival(0.0, 0)] * 3)
    assert list(rows["outcome"]) == [samples.OK] * 3


def test_a_failed_call_fails_the_turn_and_what_waits_for_it_is_not_sent(scripted):
    models = Models(LABELS, statuses={"scope": 503})
    rows, by_name = Trial(CALLS, scripted(models).port).play()
    (row,) = rows
    assert samples.outcome_name(int(row["outcome"])) == "http_503"
    assert row["done_s"] == by_name["scope"]["done_s"]
    assert row["predicted"] == samples.NOT_PREDICTED
    assert np.isnan(row["infer_ms"])
    assert models.asked == {"language": 1, "scope": 1}
    assert outcomes(by_name) == {"language": "ok", "scope": "http_503"}
    assert not any(call["critical"] for call in by_name.values())


def test_a_call_that_is_out_when_another_fails_runs_to_its_end_and_is_kept(scripted):
    over = threading.Event()
    models = Models(LABELS, lambda name: over.wait(5) if name == "intent" else None, {"act": 500})
    trial = Trial({**CALLS, "late": ["intent"]}, scripted(models).port)
    trial.turns._record = lambda *sample: (trial._record.sample(*sample), over.set())
    rows, by_name = trial.play()
    assert [samples.outcome_name(int(row["outcome"])) for row in rows] == ["http_500"]
    assert rows[0]["done_s"] == by_name["act"]["done_s"] < by_name["intent"]["done_s"]
    assert outcomes(by_name) == {"language": "ok", "scope": "ok", "act": "http_500", "intent": "ok"}
    assert models.asked["late"] == 0


def test_a_wrong_answer_of_any_call_makes_the_turn_wrong(scripted):
    trial = Trial({"language": [], "intent": []}, scripted(Models(LABELS)).port)
    for client, code in zip(trial.turns._clients, (samples.WRONG, samples.OK), strict=True):
        client.judge = lambda utterance, predicted, code=code: (code, 0)
    rows, _ = trial.play()
    assert list(rows["outcome"]) == [samples.WRONG]


def test_a_call_beyond_the_bound_is_dropped_and_its_turn_with_it(scripted):
    go = threading.Event()
    models = Models(LABELS, lambda name: go.wait(5))
    trial = Trial(CALLS, scripted(models).port, max_in_flight=1)
    trial.turns.send(Arrival(0.0, 0))
    trial.turns.send(Arrival(0.0, 0))
    go.set()
    rows, _ = trial.play()
    found = [samples.outcome_name(int(row["outcome"])) for row in rows]
    assert found[0] == "dropped"
    assert "ok" in found
    assert np.isnan(rows[0]["sent_s"])
    assert np.isnan(rows[0]["done_s"])


@pytest.mark.parametrize(("timeout_s", "outcome"), [(0.1, "timeout"), (60.0, "unfinished")])
def test_a_call_without_an_answer_ends_its_turn(scripted, timeout_s, outcome):
    go = threading.Event()
    trial = Trial(CALLS, scripted(Models(LABELS, lambda name: go.wait(10))).port, timeout_s)
    rows, by_name = trial.play(within_s=1.0)
    go.set()
    assert [samples.outcome_name(int(row["outcome"])) for row in rows] == [outcome]
    assert outcomes(by_name) == {"language": outcome}
