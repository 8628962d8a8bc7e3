"""How often the nominal 95 % intervals of chatload.statistics hold the truth, on processes whose percentiles theory gives.

    python -m benchmarks.coverage        about a minute

Prints, for each process and number of samples, the share of 300 intervals that hold the true percentile, and in brackets the
share whose upper bound is infinite (those hold the truth whenever their lower bound does).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from chatload import statistics

RUNS = 300
SHARES = (0.5, 0.9, 0.99, 0.999)
_WARM = 5_000


def mm1(count: int, load: float, generator: np.random.Generator) -> np.ndarray:
    """Latencies of an M/M/1 queue of service rate one (Lindley's recursion); exponential of mean 1 / (1 - load)."""
    service = generator.exponential(1, count + _WARM)
    steps = np.concatenate([[0], np.cumsum(service[:-1] - generator.exponential(1 / load, count + _WARM - 1))])
    return (steps - np.minimum.accumulate(steps) + service)[_WARM:]


def ar1(count: int, correlation: float, generator: np.random.Generator) -> np.ndarray:
    """A Gaussian AR(1) process of unit variance."""
    noise = lfilter([1], [1, -correlation], generator.normal(size=count + _WARM))[_WARM:]
    return noise * math.sqrt(1 - correlation**2)


def main() -> None:
    """Prints the table."""
    generator = np.random.default_rng(1)
    processes: dict[str, tuple[Callable[[int], np.ndarray], Callable[[float], float]]] = {
        "M/M/1 at 70 %": (lambda n: mm1(n, 0.7, generator), lambda q: -math.log(1 - q) / 0.3),
        "M/M/1 at 90 %": (lambda n: mm1(n, 0.9, generator), lambda q: -math.log(1 - q) / 0.1),
        "AR(1) at 0.95": (lambda n: ar1(n, 0.95, generator), stats.norm.ppf),
        "AR(1) at 0.99": (lambda n: ar1(n, 0.99, generator), stats.norm.ppf),
        "independent": (lambda n: generator.exponential(size=n), lambda q: -math.log(1 - q)),
    }
    print("| process | samples | p50 | p90 | p99 | p99.9 |\n|---|---|---|---|---|---|")
    for name, (draw, truth) in processes.items():
        for count in (3_000, 20_000, 100_000):
            runs = [draw(count) for _ in range(RUNS)]
            print(
                f"| {name} | {count:,} | " + " | ".join(held(runs, share, truth(share)) for share in SHARES) + " |",
                flush=True,
            )


def held(runs: list[np.ndarray], share: float, truth: float) -> str:
    """The cell for one percentile."""
    carried = [(e.low, e.high) for e in (statistics.percentile(run, share) for run in runs) if e.low is not None]
    if not carried:
        return "-"
    inside = sum(low <= truth <= high for low, high in carried if high is not None)
    open_ended = sum(high == math.inf for _, high in carried)
    return f"{inside / len(carried):.1%} ({open_ended / len(carried):.0%})"


if __name__ == "__main__":
    main()
