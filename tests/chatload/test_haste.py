from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import prices, timetable
from chatload.haste import MEMORY_S, NONE, SLOW_S, Haste, fit, loads, varied

ROOT = Path(__file__).resolve().parents[2]
STEPS = np.random.default_rng(1).exponential(size=20_000)
STEADY_S = (STEPS / 50).cumsum()
BURSTS_S = (STEPS / np.where(np.arange(len(STEPS)) // 300 % 2, 20, 80)).cumsum()


@given(st.lists(st.floats(0, 10), max_size=50), st.integers(1, 4), st.sampled_from([MEMORY_S, SLOW_S]))
def test_a_load_is_a_sum_over_what_came_before(gaps_s, workers, memory_s):
    moments_s = np.cumsum(gaps_s)
    expected = [np.exp((moments_s[:number] - at_s) / memory_s).sum() for number, at_s in enumerate(moments_s)]
    assert loads(moments_s, workers, memory_s) == pytest.approx(np.array(expected) / (memory_s * workers))


def test_a_load_is_as_high_as_the_rate():
    assert loads(STEADY_S, 1)[100:].mean() == pytest.approx(50, rel=0.05)
    assert loads(STEADY_S, 2)[100:].mean() == pytest.approx(25, rel=0.05)


def test_a_load_varies_where_its_rate_does():
    assert not varied(loads(STEADY_S, 1, SLOW_S), 1)
    assert not varied(loads(STEADY_S, 3, SLOW_S), 3)
    assert varied(loads(BURSTS_S, 1, SLOW_S), 1)
    assert varied(loads(BURSTS_S, 3, SLOW_S), 3)


def test_a_load_beyond_the_limit_changes_nothing_more():
    added_s = Haste(-0.002, 0.0, 200.0).added_s(np.array([0.0, 100.0, 200.0, 400.0, np.inf]))
    assert added_s == pytest.approx([0, -0.2, -0.4, -0.4, -0.4])
    assert (NONE.added_s(np.array([0.0, 1e9, np.inf])) == 0).all()


LOAD, SLOW = loads(BURSTS_S, 1), loads(BURSTS_S, 1, SLOW_S)
SLOW -= SLOW.mean()
SEEN = 90.0


def limited(most: float) -> np.ndarray:
    load = np.minimum(LOAD, most)
    return load - load.mean()


def noises(count: int, size: float) -> list[np.ndarray]:
    return [size * np.random.default_rng(seed).standard_normal(len(BURSTS_S)) for seed in range(count)]


def effect(haste: Haste) -> tuple[float, float]:
    """What the higher of the two rates changes against the lower, and its standard error."""
    distance = min(80.0, haste.most) - min(20.0, haste.most)
    return haste.slope_s * distance, haste.error_s * distance


def test_an_effect_is_found_within_its_error():
    found = [fit(-0.002 * limited(SEEN) + noise, limited, SLOW, SEEN) for noise in noises(40, 0.2)]
    assert sum(abs(of_load + 0.12) < 2 * error for of_load, error in map(effect, found)) >= 35
    drawn = [found[0].resampled(np.random.default_rng(seed)).slope_s for seed in range(400)]
    assert np.std(drawn) == pytest.approx(found[0].error_s, rel=0.15)
    assert np.mean(drawn) == pytest.approx(found[0].slope_s, rel=0.05)


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_the_load_at_which_an_effect_ends_is_found(share):
    found = [fit(-0.004 * limited(share * SEEN) + noise, limited, SLOW, SEEN) for noise in noises(20, 0.2)]
    assert [one.most / SEEN for one in found] == pytest.approx([share] * len(found), abs=0.21)


def test_an_effect_that_goes_on_is_hardly_seen_to_end():
    found = [fit(-0.002 * limited(SEEN) + noise, limited, SLOW, SEEN) for noise in noises(40, 0.2)]
    assert sum(one.most == SEEN for one in found) >= 30


def test_nothing_is_told_by_a_limit_below_all_loads():
    load = 200 + limited(SEEN)

    def capped(most: float) -> np.ndarray:
        return np.minimum(load, most) - np.minimum(load, most).mean()

    found = fit(-0.002 * (load - load.mean()), capped, SLOW, 300.0)
    assert found.most == 300.0
    assert found.slope_s == pytest.approx(-0.002)


def test_loads_that_do_not_vary_tell_nothing():
    noise = noises(1, 1.0)[0]
    assert fit(noise, lambda most: np.zeros(len(noise)), SLOW, 100.0) == NONE
    once = np.where(np.arange(len(noise)) < len(noise) / 20, 50.0, 0.0)
    assert fit(noise, lambda most: np.minimum(once, most), once, 100.0).slope_s == 0


def test_a_quick_pace_that_goes_with_chance_load_is_no_haste():
    # What the load has beyond the slow one's part in it: chance, of which a slope by squares alone would make haste.
    load = limited(SEEN)
    chance = load - SLOW * (load @ SLOW) / (SLOW @ SLOW)
    noise = noises(1, 0.2)[0]
    found = fit(-0.002 * load - 0.008 * chance + noise, limited, SLOW, SEEN)
    by_squares = fit(-0.002 * load - 0.008 * chance + noise, limited, load, SEEN).slope_s
    assert found.slope_s == pytest.approx(-0.002, rel=0.1)
    assert by_squares < -0.0024


def test_noise_is_no_haste():
    found = [fit(noise, limited, SLOW, SEEN) for noise in noises(100, 1.0)]
    assert sum(one.slope_s == 0 for one in found) >= 55
    assert max(abs(one.slope_s / one.error_s) for one in found) < 3
    assert all(one.error_s > 0 for one in found)
    assert NONE.resampled(np.random.default_rng(1)) == NONE


@pytest.mark.parametrize("rate", [8.0, 40.0, 400.0])
def test_the_load_of_a_calibration_varies(rate):
    weights = prices.read_day(ROOT / "corpus" / "calibration.txt")
    for seed in range(10):
        plan = timetable.until(timetable.profile(rate, weights, 15.0, 0.0, np.random.SeedSequence(seed)), 120.0)
        assert varied(loads(np.concatenate(list(plan)), 1, SLOW_S), 1)
