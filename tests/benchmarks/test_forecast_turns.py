"""The plan of a run in turns: what is taken for a calibration and for a load is when it was offered."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.forecast_turns import CALIBRATION, CYCLES, PARTS_S, SETTLE_S, STEP_S, rates, windows
from chatload import prices

ROOT = Path(__file__).resolve().parents[2]
QUIET, CAPACITY = 75.0, 350.0


def offered(start_s: float, end_s: float) -> list[float]:
    """The rate of each second from one moment to another."""
    planned = list(rates(QUIET, CAPACITY))
    return [planned[int(second // STEP_S)] for second in range(int(start_s), int(end_s))]


@pytest.mark.parametrize("share", list(PARTS_S))
def test_a_share_of_capacity_is_offered_in_its_windows_and_for_some_seconds_before(share):
    found = windows(share)
    assert len(found) == CYCLES
    for start_s, end_s in found:
        assert set(offered(start_s - SETTLE_S, end_s)) == {share * CAPACITY}


def test_all_other_windows_are_calibrations_at_the_quiet_rate():
    found = windows(0.0)
    assert len(found) == CYCLES * len(PARTS_S)
    for start_s, end_s in found:
        seen = offered(start_s - SETTLE_S, end_s)
        assert fmean(seen) == pytest.approx(QUIET)
        assert max(seen) == max(offered(start_s, end_s)) == pytest.approx(3 * QUIET)


def test_the_run_ends_with_its_last_window():
    assert STEP_S * len(list(rates(QUIET, CAPACITY))) == windows(0.8)[-1][1]


def test_a_calibration_has_the_weights_that_users_are_told_to_take():
    assert sorted(CALIBRATION) == sorted(prices.read_day(ROOT / "corpus" / "calibration.txt"))
