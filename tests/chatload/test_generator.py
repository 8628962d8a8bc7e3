"""The generator of a process, playing against a stand-in server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gevent
import numpy as np
import pytest

from chatload import call_graph, dispatcher, generator, samples, sessions, timer
from chatload.corpus import Utterance


def plan_for(url: str, **more: Any) -> generator.Plan:
    return generator.Plan(
        url=url,
        token_file="",
        tls=generator.Tls(),
        arrivals="poisson",
        seed=1,
        worker=0,
        timeout_s=10.0,
        max_in_flight=1_000,
        run_time_s=60.0,
        utterances=[Utterance("where is my order", "order_status", "")],
        **more,
    )


def test_many_rows_are_reported_before_their_time(stand_in, monkeypatch):
    """In small portions: arrivals wait for as long as a report takes."""
    monkeypatch.setattr(generator, "_REPORT_S", 1_000.0)
    monkeypatch.setattr(generator, "_PULSE_S", 1_000.0)
    reported: list[bytes] = []
    plan = plan_for(stand_in("null"))
    playing = generator.Generator(plan, lambda rows, labels, calls: reported.append(rows), lambda pulse: None)
    playing.start()
    playing.set_streams(100, 20.0)
    with gevent.Timeout(30):
        while len(reported) < 2:
            gevent.sleep(0.1)
    portions = [len(samples.from_bytes(rows)) for rows in reported]
    playing.stop()
    rows = samples.from_bytes(b"".join(reported))
    assert min(portions) >= 1_000
    assert len(rows) > sum(portions)  # the rest, which is no thousand any more
    assert (rows["outcome"] <= samples.WRONG).all()
    assert playing.facts.stamped == (sys.platform == "linux")


def play(plan: generator.Plan, streams: int, seconds: float) -> tuple[np.ndarray, generator.Facts]:
    """The samples and the facts of a generator with that many streams of 20/s."""
    reported: list[bytes] = []
    playing = generator.Generator(plan, lambda rows, labels, calls: reported.append(rows), lambda pulse: None)
    playing.start()
    playing.set_streams(streams, 20.0)
    gevent.sleep(seconds)
    playing.stop()
    return samples.from_bytes(b"".join(reported)), playing.facts


def dealt_turns(seconds: float, rate: float) -> np.ndarray:
    """Sessions of one turn each."""
    turns = np.zeros(int(seconds * rate), dtype=sessions.DTYPE)
    turns["intended_s"] = np.arange(len(turns)) / rate
    turns["session"] = np.arange(len(turns))
    return turns


MORE: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "sessions": lambda: {"dealt": iter([dealt_turns(2.0, 2_000)]), "sessions": True},
    "graph": lambda: {"graph": call_graph.parse({call_graph.CHECKED: []})},
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when something came")
@pytest.mark.parametrize("kind", ["plain", "sessions", "graph"])
def test_the_loop_waits_for_arrivals_only_where_nothing_waits_for_an_answer(stand_in, monkeypatch, kind):
    slept: list[float] = []
    sleep = timer.TimerFd.sleep
    monkeypatch.setattr(timer.TimerFd, "sleep", lambda self, until_s: (slept.append(until_s), sleep(self, until_s)))
    rows, _ = play(plan_for(stand_in("null"), **MORE[kind]()), 100, 1.0)
    assert (rows["outcome"] <= samples.WRONG).sum() > 1_000
    assert bool(slept) == (kind == "plain")


@pytest.mark.parametrize("kind", ["plain", "sessions", "graph"])
def test_arrivals_catch_up_after_each_answer(stand_in, monkeypatch, kind):
    caught: list[int] = []
    catch_up = dispatcher.Dispatcher.catch_up
    monkeypatch.setattr(dispatcher.Dispatcher, "catch_up", lambda self: (caught.append(1), catch_up(self)))
    rows, _ = play(plan_for(stand_in("null"), **MORE[kind]()), 10, 0.5)
    assert len(caught) == len(rows) > 50


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a timer that does without sleep")
def test_a_generator_stays_awake_where_it_is_told_to(stand_in, monkeypatch):
    monkeypatch.setattr(timer, "_sleep", lambda rest_s: pytest.fail("slept"))
    monkeypatch.setattr(timer, "_LOOK_S", 10.0)  # how fast this machine looks is no matter
    rows, facts = play(plan_for(stand_in("null"), stay_awake=True), 10, 1.0)
    assert (rows["outcome"] <= samples.WRONG).sum() > 100
    assert facts.timer == "timerfd, awake"
    assert facts.spare_s > 0.1
