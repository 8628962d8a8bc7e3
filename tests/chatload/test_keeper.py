"""Keeper: a run is over when its generators have had their time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from chatload import corpus_file, keeper, settings
from chatload.corpus import Utterance
from chatload.messages import Drawing

TWO = frozenset({"a", "b"})


def begin(folder: Path, run_time_s: float, workers: Iterable[str]) -> keeper.Keeper:
    usual = {option.name: option.default for option in settings.OPTIONS}
    wanted = settings.read({**usual, "warmup": "1s", "results": str(folder)}, "http://127.0.0.1:1", run_time_s)
    replayed = corpus_file.Replayed("all", [Utterance("where is my order", "order_status", "")], Drawing())
    return keeper.begin(wanted, "made-up", replayed, set(workers), rate=10.0, stream_rate=1.0)


def pulse(worker: int, now_s: float) -> dict:
    return {"worker": worker, "part": None, "now_s": now_s, "complete_s": now_s, "in_flight": 0, "rates": [], "cpu": []}


@pytest.fixture
def run(tmp_path):
    return begin(tmp_path / "run", 10.0, TWO)


def test_a_run_is_over_once_when_all_have_come_to_its_end(run):
    run.beat("a", 0, pulse(0, 10.6))
    assert not run.is_over(TWO)
    run.beat("b", 1, pulse(1, 9.9))
    assert not run.is_over(TWO)
    run.beat("b", 1, pulse(1, 10.9))
    assert run.is_over(TWO)
    assert not run.is_over(TWO)  # it is ending


def test_a_generator_that_is_late_at_the_end_has_half_a_second(run):
    run.beat("a", 0, pulse(0, 10.4))
    assert not run.is_over({"a"})


def test_who_came_late_or_was_lost_is_not_waited_for(run):
    run.workers.add("late")
    run.beat("a", 0, pulse(0, 11.0))
    run.beat("late", 2, pulse(2, 4.0))
    assert run.began_with == TWO
    assert run.is_over(run.began_with - {"b"})


def test_when_all_are_lost_nobody_says_that_it_is_over(run):
    run.beat("a", 0, pulse(0, 11.0))
    assert not run.is_over(set())


def test_a_run_that_is_ending_is_neither_over_nor_hopeless(run):
    run.ending = True
    run.beat("a", 0, pulse(0, 11.0))
    assert not run.is_over({"a"})
    assert not run.is_hopeless(b"")


def test_a_run_without_a_planned_end_is_never_over(tmp_path):
    run = begin(tmp_path / "run", 0.0, {"a"})
    run.beat("a", 0, pulse(0, 1e6))
    assert not run.is_over({"a"})
