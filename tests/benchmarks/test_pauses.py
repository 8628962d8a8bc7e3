"""The machine's own lateness, for who reads the clock and for who sleeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pauses


def test_without_a_gap_nothing_is_late():
    assert pauses.lateness_s([], 10.0, 0.999) == 0.0


def test_of_one_long_gap_its_end_is_on_time():
    # 50 ms of 10 s: 0.5 % of all moments are late, evenly by up to 50 ms; 0.1 % by more than 40.
    assert pauses.lateness_s([0.05], 10.0, 0.99) == pytest.approx(0.0, abs=1e-6)
    assert pauses.lateness_s([0.05], 10.0, 0.999) == pytest.approx(0.04, abs=1e-6)


@given(st.lists(st.floats(1e-6, 1e-3), min_size=1, max_size=30), st.floats(0.5, 0.9999))
def test_a_share_of_moments_spread_evenly_is_no_later(gaps, share):
    lasts_s = 2 * sum(gaps)
    late_s = pauses.lateness_s(gaps, lasts_s, share)
    later = sum(max(gap - late_s, 0.0) for gap in gaps) / lasts_s
    earlier = sum(max(gap - (late_s - 2e-7), 0.0) for gap in gaps) / lasts_s
    assert later <= 1 - share + 1e-9
    assert late_s <= 2e-7 or earlier >= 1 - share - 1e-9


class Clock:
    """Moves by 1 us with each look, and once by 5 ms."""

    def __init__(self) -> None:
        self.looks = 0

    def perf_counter(self) -> float:
        self.looks += 1
        return self.looks * 1e-6 + (5e-3 if self.looks > 100 else 0.0)


def test_the_clock_is_read_for_as_long_as_asked_and_its_gaps_are_kept(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pauses, "time", clock)
    assert pauses.gaps_s(0.01) == [pytest.approx(5.001e-3)]
    assert clock.perf_counter() == pytest.approx(0.01, abs=1e-5)


def test_a_sleeper_is_awake_for_every_arrival_and_never_early():
    late_s = pauses.sleeper_s(1_000, 0.3)
    assert len(late_s) == 300
    assert min(late_s) >= 0
