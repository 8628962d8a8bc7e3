"""What the machine itself adds to any lag: how late a process is that has nothing to do but to be on time.

    taskset -c 0 python -m benchmarks.pauses 5000 10     arrivals per second, seconds

Two of them. One only reads the clock: between two readings nothing could be sent, since the kernel had the core, or on a
virtual machine the host; a moment in such a gap is noticed at its end. The other sleeps until each of some Poisson arrivals,
as a generator does that leaves its core to others meanwhile. Prints JSON: p50, p99 and p99.9 of their lateness in ms.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time

import numpy as np

_GAP_S = 2e-6  # longer than it takes Python to read the clock twice
_PR_SET_TIMERSLACK = 29
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def gaps_s(lasts_s: float) -> list[float]:
    """The gaps between two readings of the clock, those of more than 2 us, in seconds."""
    found = []
    now_s = time.perf_counter()
    until_s = now_s + lasts_s
    while now_s < until_s:
        before_s, now_s = now_s, time.perf_counter()
        if now_s - before_s > _GAP_S:
            found.append(now_s - before_s)
    return found


def lateness_s(gaps: list[float], lasts_s: float, share: float) -> float:
    """How late at most that share of all moments within ``lasts_s`` are, to a tenth of a microsecond, in seconds."""
    if sum(gaps) <= (1 - share) * lasts_s:
        return 0.0
    low, high = 0.0, max(gaps)
    while high - low > 1e-7:
        mid = (low + high) / 2
        later = sum(gap - mid for gap in gaps if gap > mid) / lasts_s
        low, high = (mid, high) if later > 1 - share else (low, mid)
    return high


def sleeper_s(rate: float, lasts_s: float) -> list[float]:
    """How late a process is awake for each Poisson arrival that it sleeps for, in seconds."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)  # or Linux adds up to 50 us to a sleep
    gaps = np.random.default_rng(1).exponential(1 / rate, int(rate * lasts_s)).tolist()
    found = []
    due_s = time.perf_counter()
    for gap_s in gaps:
        due_s += gap_s
        rest_s = due_s - time.perf_counter()
        if rest_s > 0:
            time.sleep(rest_s)
        found.append(time.perf_counter() - due_s)
    return found


def main() -> None:
    rate, lasts_s = map(float, sys.argv[1:3])
    gc.disable()
    gaps, slept = gaps_s(lasts_s), sleeper_s(rate, lasts_s)
    reads = {name: lateness_s(gaps, lasts_s, share) * 1e3 for name, share in SHARES.items()}
    sleeps = {name: float(np.quantile(slept, share)) * 1e3 for name, share in SHARES.items()}
    print(json.dumps({"only reads the clock": reads, "only sleeps until arrivals": sleeps}))


if __name__ == "__main__":
    main()
