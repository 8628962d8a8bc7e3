"""Dealing: of every arrival process, with sessions and without, the parts are the plan and its count is theirs."""

from __future__ import annotations

import numpy as np
import pytest

from chatload import dealing
from chatload.arrivals import ArrivalsError

LAW = "turns=3,turns_cv=0.9,think=2s,think_cv=1"
PROCESSES = ["poisson", "constant", "gamma:cv=3", "onoff:peak=3,on=2s,off=8s", "profile:span=40s"]


def times_s(asked: dealing.Dealing, part: int, parts: int, end_s: float) -> np.ndarray:
    blocks = list(asked.part(part, parts, end_s))
    return np.concatenate([block["intended_s"] if asked.sessions else block for block in blocks])


@pytest.fixture
def trace(tmp_path) -> str:
    moments_s = np.sort(np.random.default_rng(2).uniform(0, 40, 2_000))
    moments_s[0] = 0.0
    path = tmp_path / "trace.csv"
    path.write_text("time\n" + "".join(f"{moment_s!r}\n" for moment_s in moments_s.tolist()))
    return f"trace:file={path}"


def held(asked: dealing.Dealing) -> None:
    dealt = [times_s(asked, part, 3, 30.0) for part in range(3)]
    assert np.array_equal(np.sort(np.concatenate(dealt)), times_s(asked, 0, 1, 30.0))
    assert asked.counts(10.0, 30.0, 3) == [np.count_nonzero((part >= 10) & (part < 30)) for part in dealt]
    assert asked.counts(4.0, 17.5, 1) == [sum(np.count_nonzero((part >= 4) & (part < 17.5)) for part in dealt)]


@pytest.mark.parametrize("process", PROCESSES)
def test_the_parts_of_a_plan_of_sessions_are_the_plan(process):
    asked = dealing.read(process, LAW, 100.0, 5)
    assert asked.dealt
    assert not asked.poisson
    held(asked)


def test_the_parts_of_a_plan_without_sessions_are_the_plan(trace):
    for process in ("gamma:cv=3", trace):
        held(dealing.read(process, "", 100.0, 5))
    assert not dealing.read("poisson", "", 100.0, 5).dealt
    assert dealing.read("poisson", "", 100.0, 5).poisson


def test_a_trace_gives_the_beginnings_of_sessions_and_its_rate(trace):
    asked = dealing.read(trace, LAW, 1.0, 5)
    held(asked)
    moments_s = times_s(dealing.read(trace, "", 1.0, 5), 0, 1, 30.0)
    turns = np.concatenate(list(asked.part(0, 1, 30.0)))
    assert turns["intended_s"][turns["turn"] == 1] == pytest.approx(moments_s, abs=1e-9)
    assert asked.mean_rate(30.0) == pytest.approx(len(turns) / 30)
    assert asked.mean_rate(0.0) == pytest.approx(3 * 2_000 / 40, rel=0.02)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_mean_rate_is_that_of_all_turns(process):
    asked = dealing.read(process, LAW, 60.0, 5)
    assert asked.mean_rate(400.0) == 60
    assert asked.counts(0.0, 400.0, 1)[0] == pytest.approx(400 * 60, rel=0.15)


def test_a_file_that_cannot_be_read_is_refused():
    with pytest.raises(ArrivalsError, match=r"trace nowhere\.csv: cannot be read"):
        dealing.read("trace:file=nowhere.csv", LAW, 1.0, 1).check()
