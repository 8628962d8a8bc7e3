"""Health: when the generator's lamp is good, when it warns, and when it is bad."""

from __future__ import annotations

import pytest

from chatload import health, verdict


@pytest.mark.parametrize(
    ("faults", "lag", "cpu_share", "lamp", "why"),
    [
        ([], None, 0.0, health.GOOD, ""),
        ([], verdict.Lag("p99", 0.5, 1.0), 0.7, health.GOOD, ""),
        ([], verdict.Lag("p99", 0.51, 1.0), 0.1, health.WARN, "lag p99 0.510 ms comes near its bound, 1.00 ms"),
        ([], None, 0.71, health.WARN, "the busiest generator process uses 71.0 % of a core; above 90.0 % is too much"),
        (["it was late"], verdict.Lag("p99", 0.6, 1.0), 0.99, health.BAD, "it was late"),
    ],
)
def test_the_lamp_and_why(faults, lag, cpu_share, lamp, why):
    assert health.lamp(faults, lag, cpu_share) == (lamp, [why] if why else [])
