"""Fitting: what each process is simulated as, it is found to be, with numbers within 5 %; what no process makes is said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chatload import arrival_spec, description, fitting, timetable

DAY = [20, 12, 8, 6, 6, 8, 15, 40, 80, 110, 125, 132, 120, 110, 105, 100, 95, 90, 92, 95, 90, 75, 50, 30]


def traffic(blocks, end_s: float) -> description.Traffic:
    times_s = np.concatenate(list(timetable.until(blocks, end_s)))
    return description.traffic(times_s - times_s[0])


def long_run(rate: float, option: str) -> dict[str, float]:
    """CV and dispersion at 1, 10 and 60 s of an onoff option in closed form."""
    keys = arrival_spec.parse(option).numbers
    on_s, off_s = keys["on"], keys["off"]
    found = fitting.theory(rate, on_s, off_s, (keys["peak"] - 1) * on_s / off_s, np.array([1.0, 10.0, 60.0]))
    return {"cv": found.cv} | dict(zip(("1", "10", "60"), found.dispersion.tolist(), strict=True))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_independent_customers_are_poisson(seed):
    found = fitting.fit(traffic(timetable.gamma(5.0, 1.0, timetable.seed(seed)), 3_600.0))
    assert found.chosen.process.option == "poisson"


@pytest.mark.parametrize("cv", [0.5, 1.5, 3.0])
def test_gamma_gaps_are_found_with_their_cv(cv):
    found = fitting.fit(traffic(timetable.gamma(20.0, cv, timetable.seed(1)), 10_000.0))
    spec = arrival_spec.parse(found.chosen.process.option)
    assert spec.name == "gamma"
    assert spec.numbers["cv"] == pytest.approx(cv, rel=0.05)
    assert found.chosen.errors["cv"] == pytest.approx(0, abs=0.05)
    assert found.chosen.errors["dispersion 1s"] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("peak", "on_s", "off_s"), [(5, 10, 50), (4, 1, 5), (6, 10, 50)])
def test_bursts_are_found_with_the_numbers_that_make_them(peak, on_s, off_s):
    given = traffic(timetable.onoff(20.0, peak, on_s, off_s, timetable.seed(3)), 100_000.0)
    option = fitting.onoff(given).option
    true = long_run(20.0, f"onoff:peak={peak},on={on_s}s,off={off_s}s")
    assert long_run(given.rate, option) == pytest.approx(true, rel=0.05)
    keys = arrival_spec.parse(option).numbers
    assert [keys["peak"], keys["on"], keys["off"]] == pytest.approx([peak, on_s, off_s], rel=0.15)


def test_an_hour_of_bursts_is_onoff_and_simulates_like_the_log():
    found = fitting.fit(traffic(timetable.onoff(20.0, 5.0, 10.0, 50.0, timetable.seed(1)), 3_600.0))
    assert found.chosen.process.name == "onoff"
    assert found.chosen.within
    assert [one.process.name for one in found.candidates] == ["poisson", "gamma", "onoff"]
    assert not any(one.likely for one in found.candidates[:2])


def test_the_formulas_of_bursts_are_those_of_their_simulation():
    given = traffic(timetable.onoff(20.0, 4.0, 2.0, 6.0, timetable.seed(1)), 100_000.0)
    theory = fitting.theory(20.0, 2.0, 6.0, (4 - 1) * 2 / 6, np.array([1.0, 10.0, 60.0]))
    assert given.burstiness.cv == pytest.approx(theory.cv, rel=0.03)
    measured = [given.burstiness.dispersion[window_s] for window_s in (1, 10, 60)]
    assert measured == pytest.approx(theory.dispersion, rel=0.06)


def test_a_day_is_a_profile_whose_weights_follow_it():
    given = traffic(timetable.profile(1.0, DAY, 86_400.0, 0.0, timetable.seed(1)), 86_400.0)
    found = fitting.fit(given)
    assert found.chosen.process.name.startswith("profile")
    assert found.chosen.within
    weights = np.array(found.chosen.process.weights)
    expected = np.reshape(DAY, (len(weights), -1)).sum(axis=1)
    assert weights / weights.sum() == pytest.approx(expected / expected.sum(), abs=0.01)


def test_even_spacing_is_constant():
    found = fitting.fit(description.traffic(np.arange(500) * 0.25))
    assert found.chosen.process.option == "constant"
    assert found.chosen.likely


def test_bursts_within_a_trend_are_no_process_here_and_that_is_said():
    generator = np.random.default_rng(1)
    clusters_s = 3_600 * np.sqrt(generator.uniform(size=400))  # more and more clusters, each of arrivals within a second
    sizes = generator.geometric(1 / 15, size=400)
    times_s = np.sort(np.repeat(clusters_s, sizes) + generator.uniform(0, 0.5, sizes.sum()))
    found = fitting.fit(description.traffic(times_s - times_s[0]))
    assert found.chosen is None or found.chosen.likely
    poisson = found.candidates[0]
    assert not poisson.likely
    assert poisson.worst > 0.5


def test_too_few_arrivals_have_no_process():
    assert fitting.fit(description.traffic(np.sort(np.random.default_rng(1).uniform(0, 60, 40)))) == fitting.Fit((), None)


def test_few_slow_bursts_are_no_evidence_for_bursts():
    given = traffic(timetable.onoff(5.0, 3.0, 600.0, 1_200.0, timetable.seed(4)), 5_400.0)
    assert fitting.onoff(given) is None


@pytest.mark.parametrize(("off_s", "told"), [(0.04, False), (0.06, True)])
def test_a_calm_in_which_no_arrival_is_missed_is_no_calm(monkeypatch, off_s, told):
    given = traffic(timetable.onoff(20.0, 4.0, 2.0, 6.0, timetable.seed(1)), 10_000.0)  # an arrival each 0.05 s
    monkeypatch.setattr(fitting, "_least_squares", lambda *_: np.array([np.log(2.0), np.log(off_s), 0.5]))
    assert (fitting.onoff(given) is not None) == told


def test_options_can_be_used_as_they_stand():
    process = fitting.onoff_of(20.0, 10.123456, 49.87654, 1.0)
    spec = arrival_spec.parse(process.option)
    assert timetable.calm_share(spec.numbers["peak"], spec.numbers["on"], spec.numbers["off"]) == pytest.approx(0, abs=1e-6)
    assert math.isclose(spec.numbers["on"], 10.12)
