"""Health: whether a run's generator can be trusted so far, as a lamp."""

from __future__ import annotations

from collections.abc import Sequence

from chatload import verdict
from chatload.units import format_ms, format_share

GOOD, WARN, BAD = "good", "warn", "bad"
_NEAR = 0.5  # of the lag's bound
_BUSY = 0.7  # of a core; verdict.CPU_SHARE is too much


def lamp(faults: Sequence[str], lag: verdict.Lag | None, cpu_share: float) -> tuple[str, list[str]]:
    """(GOOD, WARN or BAD, why) from the generator's faults so far, its lag and its busiest process' share of a core now."""
    if faults:
        return BAD, list(faults)
    why = []
    if lag is not None and lag.value_ms > _NEAR * lag.bound_ms:
        why.append(f"lag {lag.percentile} {format_ms(lag.value_ms)} ms comes near its bound, {format_ms(lag.bound_ms)} ms")
    if cpu_share > _BUSY:
        limit = format_share(verdict.CPU_SHARE)
        why.append(f"the busiest generator process uses {format_share(cpu_share)} of a core; above {limit} is too much")
    return (WARN if why else GOOD), why
