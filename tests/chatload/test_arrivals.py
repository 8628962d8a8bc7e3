from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chatload import arrivals

rates = st.floats(0.01, 10_000)


def work(name: str, seed: int = 1, worker: int = 0):
    return arrivals.process(name, arrivals.seeds(seed, worker).arrivals)


def play(schedule: arrivals.Schedule, horizon_s: float) -> list[float]:
    found = []
    while schedule.due_s < horizon_s:
        found.append(schedule.advance())
    return found


@pytest.mark.parametrize("name", sorted(arrivals.PROCESSES))
@given(seed=st.integers(0, 2**32))
def test_arrivals_are_sorted_and_the_same_seed_gives_the_same_plan(name, seed):
    first, second = (list(itertools.islice(work(name, seed), 700)) for _ in range(2))
    assert first == second
    assert first == sorted(first)
    assert first[0] >= 0


@pytest.mark.parametrize("name", sorted(arrivals.PROCESSES))
def test_every_process_has_rate_one(name):
    points = list(itertools.islice(work(name), 40_000))
    assert points[-1] / len(points) == pytest.approx(1, rel=0.02)


def test_poisson_gaps_are_exponential():
    gaps = np.diff(list(itertools.islice(work("poisson"), 20_000)))
    assert stats.kstest(gaps, "expon").pvalue > 0.01


def test_workers_and_seeds_differ_and_their_union_is_poisson():
    plans = [list(itertools.islice(work("poisson", worker=worker), 10_000)) for worker in range(4)]
    assert len({plan[0] for plan in plans}) == 4
    horizon = min(plan[-1] for plan in plans)
    union = np.sort(np.concatenate([np.array(plan)[np.array(plan) < horizon] for plan in plans]))
    assert stats.kstest(np.diff(union), "expon", args=(0, 0.25)).pvalue > 0.01


def test_constant_arrivals_are_evenly_spaced():
    assert np.diff(list(itertools.islice(work("constant"), 100))) == pytest.approx(1.0)


def test_an_unknown_process_is_refused_by_name():
    with pytest.raises(arrivals.ArrivalsError, match="'weibull'.*constant or poisson"):
        work("weibull")


@given(rate=rates)
def test_a_schedule_plays_the_process_at_its_rate(rate):
    schedule = arrivals.Schedule(work("poisson"))
    schedule.set_rate(rate, 0.0)
    played = [schedule.advance() for _ in range(50)]
    assert played == pytest.approx([point / rate for point in itertools.islice(work("poisson"), 50)])


def test_without_a_rate_nothing_is_due():
    schedule = arrivals.Schedule(work("poisson"))
    assert schedule.due_s == math.inf
    schedule.set_rate(5, 1.0)
    assert 1.0 <= schedule.due_s < math.inf
    schedule.set_rate(0, 1.0)
    assert schedule.due_s == math.inf


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.1, 50), st.floats(0.5, 5)), min_size=1, max_size=6))
def test_a_changing_rate_loses_no_arrival_and_keeps_their_order(steps):
    """The work done at each arrival is the unit process itself, however often the rate changes (time rescaling)."""
    schedule = arrivals.Schedule(work("poisson"))
    now_s, done, played = 0.0, 0.0, []
    expected = iter(work("poisson"))
    for rate, lasts_s in steps:
        schedule.set_rate(rate, now_s)
        arrived = play(schedule, now_s + lasts_s)
        assert arrived == pytest.approx([now_s + (next(expected) - done) / rate for _ in arrived], rel=1e-6)
        played += arrived
        done += rate * lasts_s
        now_s += lasts_s
    assert played == sorted(played)


def test_setting_the_same_rate_again_changes_nothing():
    schedule = arrivals.Schedule(work("poisson"))
    schedule.set_rate(3, 0.0)
    due_s = schedule.due_s
    schedule.set_rate(3, due_s / 2)
    assert schedule.due_s == pytest.approx(due_s)


def test_an_overdue_arrival_keeps_its_place_when_the_rate_changes():
    schedule = arrivals.Schedule(work("constant"))
    schedule.set_rate(1, 0.0)
    schedule.set_rate(2, 100.0)
    assert schedule.due_s == pytest.approx(100.0)


def test_a_negative_rate_is_refused():
    with pytest.raises(arrivals.ArrivalsError, match="negative"):
        arrivals.Schedule(work("poisson")).set_rate(-1, 0.0)
