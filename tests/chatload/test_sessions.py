"""Sessions: turns and think times as stated, a plan in order that is steady from its start, dealt by session."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload import session_spec, sessions, timetable

SHORT = "turns=3,turns_cv=0.8,think=2s,think_cv=1"


def law(text: str = SHORT) -> sessions.Law:
    found = session_spec.parse(text)
    assert found is not None
    return found


def starts(rate: float, found: sessions.Law, seed: int = 1):
    blocks = timetable.gamma(rate / found.mean_turns, 1.0, timetable.seed(seed))
    return (block - found.lookback_s for block in blocks)


def planned(rate: float, end_s: float, text: str = SHORT, seed: int = 1, part: int = 0, parts: int = 1) -> np.ndarray:
    found = law(text)
    turns = sessions.plan(timetable.until(starts(rate, found, seed), end_s), found, seed, part, parts)
    return np.concatenate(list(sessions.until(sessions.in_order(turns), end_s)))


@settings(max_examples=30)
@given(mean=st.floats(1.05, 40), cv=st.floats(0.55, 2.0))
def test_the_rounded_number_of_turns_has_the_mean_and_the_variation_asked_for(mean, cv):
    counts = sessions.lognormal_turns(mean, cv).draw(np.random.default_rng(1), 200_000)
    assert counts.min() >= 1
    assert counts.dtype.kind == "i"
    noise = 5 * cv / math.sqrt(len(counts))
    assert counts.mean() == pytest.approx(mean, rel=0.01 + noise)
    squares = counts.astype(float) ** 2
    noise = 5 * squares.std() / squares.mean() / math.sqrt(len(counts))
    assert squares.mean() == pytest.approx(mean**2 * (1 + cv**2), rel=noise)


@pytest.mark.parametrize("mean", [1.0, 2.0, 12.5])
def test_geometric_turns_have_their_mean(mean):
    counts = sessions.geometric_turns(mean, math.nan).draw(np.random.default_rng(1), 200_000)
    assert counts.mean() == pytest.approx(mean, rel=0.02)
    assert counts.std() / counts.mean() == pytest.approx(math.sqrt(1 - 1 / mean), abs=0.02)


@pytest.mark.parametrize(("dist", "cv"), [("lognormal", 1.5), ("exponential", 1.0), ("constant", 0.0)])
def test_think_times_have_their_mean_and_variation(dist, cv):
    pauses_s = sessions.THINKS[dist](24.0, 1.5)(np.random.default_rng(1), 400_000)
    assert pauses_s.mean() == pytest.approx(24, rel=0.02)
    assert pauses_s.std() / 24 == pytest.approx(cv, abs=0.06)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), rate=st.floats(1, 300))
def test_a_plan_is_sorted_whole_and_the_same_for_the_same_seed(seed, rate):
    turns = planned(rate, 30.0, seed=seed)
    assert np.array_equal(turns, planned(rate, 30.0, seed=seed))
    assert (np.diff(turns["intended_s"]) >= 0).all()
    assert not len(turns) or 0 <= turns["intended_s"][0] <= turns["intended_s"][-1] < 30
    by_session = turns[np.lexsort((turns["turn"], turns["session"]))]
    same = np.diff(by_session["session"].astype(int)) == 0
    assert (np.diff(by_session["turn"].astype(int))[same] == 1).all()  # no turn is missing between two of them
    assert (np.diff(by_session["intended_s"])[same] >= 0).all()


@pytest.mark.parametrize("text", [SHORT, "turns=4,turns_dist=geometric,think=5s,think_dist=exponential"])
def test_a_plan_does_not_depend_on_the_blocks_that_its_starts_come_in(text):
    found, starts_s = law(text), np.sort(np.random.default_rng(3).uniform(0, 60, 3_000))
    plans = [
        np.concatenate([turns for _, turns in sessions.plan(np.split(starts_s, cuts), found, 1, 0, 1)])
        for cuts in ([], [1, 7, 7, 900, 2_999], range(0, 3_000, 512))
    ]
    for other in plans[1:]:
        assert np.array_equal(other["session"], plans[0]["session"])
        assert np.array_equal(other["turn"], plans[0]["turn"])
        assert other["intended_s"] == pytest.approx(plans[0]["intended_s"], abs=1e-9)


def test_sessions_have_the_turns_and_pauses_of_their_law():
    found = law("turns=3,turns_cv=0.8,think=2s,think_cv=1,answer=500ms")
    turns = np.concatenate([block for _, block in sessions.plan([np.linspace(0, 1, 50_000)], found, 1, 0, 1)])
    counts = np.bincount(turns["session"])[1:]
    assert len(counts) == 50_000
    assert counts.mean() == pytest.approx(3, rel=0.02)
    assert counts.std() / 3 == pytest.approx(0.8, rel=0.05)
    pauses_s = np.diff(turns["intended_s"])[np.diff(turns["session"].astype(int)) == 0]
    assert pauses_s.min() >= 0.5
    assert pauses_s.mean() == pytest.approx(2.5, rel=0.02)
    assert (pauses_s - 0.5).std() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("text", [SHORT, "turns=4,turns_dist=geometric,think=5s,think_dist=exponential", "default"])
def test_the_rate_is_the_one_asked_for_from_the_first_second_on(text):
    rate, window_s = 400.0, 30.0
    turns = planned(rate, 10 * window_s, text)
    counts = np.histogram(turns["intended_s"], bins=np.arange(0, 10.5) * window_s)[0]
    # Sessions make counts vary more than Poisson's would: at most as if all turns of a session came at once.
    deviation = math.sqrt(rate * window_s * 8)
    assert abs(counts[0] - rate * window_s) < 4 * deviation
    assert abs(counts.sum() - rate * 10 * window_s) < 4 * deviation * math.sqrt(10)
    assert (np.histogram(turns["turn"][turns["intended_s"] < window_s], bins=[1, 2, 3, 99])[0] > 0.1 * counts[0]).all()


def test_without_a_lookback_the_rate_would_climb():
    found = law("default")
    turns = sessions.plan(timetable.until(timetable.gamma(400 / 2.1, 1.0, timetable.seed(1)), 30.0), found, 1, 0, 1)
    assert sessions.count_between(turns, 0.0, 30.0, 1)[0] < 0.7 * len(planned(400.0, 30.0, "default"))


@pytest.mark.parametrize("text", [SHORT, "default", "turns=4,turns_dist=constant,think=3s,think_dist=constant"])
def test_less_than_a_thousandth_of_the_turns_lies_beyond_the_lookback(text):
    found = law(text)
    _, offsets_s, _ = sessions._walk(found, sessions._chances(np.random.SeedSequence(7)), np.zeros(400_000))
    assert (offsets_s > found.lookback_s).mean() < 0.001


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_are_the_plan_and_no_session_is_dealt_twice(parts):
    whole = planned(200.0, 20.0)
    dealt = [planned(200.0, 20.0, part=part, parts=parts) for part in range(parts)]
    by_session = ["session", "turn"]
    assert np.array_equal(np.sort(np.concatenate(dealt), order=by_session), np.sort(whole, order=by_session))
    owners = [set(part["session"].tolist()) for part in dealt]
    assert sum(map(len, owners)) == len(set().union(*owners))
    found = law()
    all_turns = sessions.plan(timetable.until(starts(200.0, found), 20.0), found, 1, 0, 1)
    assert sessions.count_between(all_turns, 5.0, 15.0, parts) == [
        np.count_nonzero((part["intended_s"] >= 5) & (part["intended_s"] < 15)) for part in dealt
    ]


@given(st.lists(st.lists(st.floats(0, 50), max_size=40), max_size=60))
def test_turns_come_in_order_however_far_they_lie_ahead(offsets):
    blocks, plain = [], []
    for number, ahead_s in enumerate(offsets):
        turns = np.zeros(len(ahead_s), dtype=sessions.DTYPE)
        turns["intended_s"] = number + np.array(ahead_s)  # a block's sessions begin at ``number``, and none after it earlier
        turns["session"] = np.arange(len(ahead_s)) + 100 * number
        plain += turns["session"][np.argsort(turns["intended_s"], kind="stable")].tolist()
        blocks.append((float(number), turns))
    found = np.concatenate([*sessions.in_order(blocks), np.zeros(0, dtype=sessions.DTYPE)])
    assert (np.diff(found["intended_s"]) >= 0).all()
    assert sorted(found["session"].tolist()) == sorted(plain)


def test_a_timetable_says_whose_turn_it_is():
    turns = np.array([(1.0, 7, 2), (1.5, 9, 1)], dtype=sessions.DTYPE)
    played = sessions.Timetable([turns])
    words = played.with_turns(iter([(30, 0), (31, 4), (32, 0)]))
    assert played.due_s == 1.0
    assert (played.advance(), next(words)) == (1.0, (30, 0, 7, 2))
    assert (played.advance(), next(words)) == (1.5, (31, 4, 9, 1))
    assert played.due_s == math.inf
    assert sessions.Timetable([]).due_s == math.inf
