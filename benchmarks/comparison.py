"""How often a comparison errs, and whether it finds a real difference with the samples that it asked for.

    python -m benchmarks.comparison            about a quarter of an hour
    python -m benchmarks.comparison repeated   only repeated runs (or: single, traffic)

On processes of known kind (benchmarks/coverage.py): the share of comparisons of a process with itself that call any
difference (it must not be above 5 %), and the share of comparisons with a process whose latencies are all 5 % longer that
find p99 longer, each after a pilot comparison has said how many samples, or rounds, that takes (it must be at least 80 %).
``traffic`` does the first over all usual metrics, on queues that are asked in bursts, or have outages.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.coverage import ar1, mm1
from chatload import compare, findings, timetable
from chatload.compare import Samples, Side
from chatload.findings import Finding, Margins

Process = Callable[[int, np.random.Generator], np.ndarray]

EQUALS, ASKED = 400, 100  # comparisons a row of each kind
ROUND = 10_000  # samples of a run in a round
SHIFT = 1.05
MARGINS = Margins()
METRICS = ("p50", "p90", "p99")
CONFIDENCE = compare.confidence_of_each(1)
PROCESSES: dict[str, Process] = {
    "M/M/1 at 70 %": lambda count, generator: mm1(count, 0.7, generator),
    "AR(1) at 0.95, lognormal": lambda count, generator: np.exp(0.5 * ar1(count, 0.95, generator)),
    "independent, lognormal": lambda count, generator: generator.lognormal(sigma=0.5, size=count),
}
_RUN_SPREAD = 0.03  # standard deviation of the logarithm by which whole runs of one server differ
_ROUND_SPREAD = 0.10  # and by which rounds do, A and B alike: the machine's mood

RATE, LOAD = 100.0, 0.5  # of the queue in ``traffic``
_WARM_S = 20.0
_ALL = ("throughput", *METRICS, "errors")
_UP_S, _DOWN_S = 60.0, 1.0  # means of the exponential times between outages and of an outage


@dataclass(frozen=True)
class Traffic:
    """Who asks a queue of exponential service times, in moments by seed, and whether it has outages."""

    moments_s: Callable[[np.random.SeedSequence], Iterator[np.ndarray]]
    outages: bool = False


TRAFFIC = {
    "Poisson": Traffic(lambda seed: timetable.gamma(RATE, 1.0, seed)),
    "gamma, cv 3": Traffic(lambda seed: timetable.gamma(RATE, 3.0, seed)),
    "onoff, peak 1.8 for 2 s in 6": Traffic(lambda seed: timetable.onoff(RATE, 1.8, 2.0, 4.0, seed)),
    "onoff, peak 5 for 2 s in 12": Traffic(lambda seed: timetable.onoff(RATE, 5.0, 2.0, 10.0, seed)),
    "Poisson, an outage of 1 s a minute": Traffic(lambda seed: timetable.gamma(RATE, 1.0, seed), outages=True),
}


def side(*latencies: np.ndarray) -> Side:
    """A side of one run or of repeated ones."""
    none = np.empty(0, bool)
    return Side(
        "made up",
        "",
        {"measured": "made up"},
        tuple(Samples(x, np.arange(len(x)) / 100, len(x) / 100, none) for x in latencies),
    )


def calls_a_difference(a: Side, b: Side) -> bool:
    """Whether a comparison over METRICS calls any of them different."""
    return any(finding.real for finding in compare.compare(a, b, METRICS, compare.confidence_of_each(len(METRICS))))


def p99(a: Side, b: Side) -> Finding:
    """The finding about p99 where it is the only claim."""
    return compare.compare(a, b, ("p99",), CONFIDENCE)[0]


def found_with_the_samples_asked_for(process: Process, pilot: int, generator: np.random.Generator) -> tuple[int, bool]:
    """How many samples a pilot comparison asks for (0: it cannot say), and whether that many find the shift."""
    a, b = side(process(pilot, generator)), side(SHIFT * process(pilot, generator))
    needed = findings.needed_samples(p99(a, b), (pilot, pilot), MARGINS, CONFIDENCE)
    if needed is None:
        return 0, False
    again = p99(side(process(needed, generator)), side(SHIFT * process(needed, generator)))
    return needed, again.real == findings.WORSE


def rounds(process: Process, count: int, samples: int, shift: float, generator: np.random.Generator) -> tuple[Side, Side]:
    """A and B in turns, ``count`` rounds: rounds differ for both, runs for each."""
    a: list[np.ndarray] = []
    b: list[np.ndarray] = []
    for _ in range(count):
        mood = generator.normal(0, _ROUND_SPREAD)
        for runs, factor in ((a, 1.0), (b, shift)):
            runs.append(factor * math.exp(mood + generator.normal(0, _RUN_SPREAD)) * process(samples, generator))
    return side(*a), side(*b)


def found_with_the_rounds_asked_for(
    process: Process, pilot: int, samples: int, generator: np.random.Generator
) -> tuple[int, bool]:
    """The same for rounds."""
    finding = p99(*rounds(process, pilot, samples, SHIFT, generator))
    needed = findings.needed_rounds(finding, pilot, MARGINS, CONFIDENCE)
    if needed is None:
        return 0, False
    return needed, p99(*rounds(process, needed, samples, SHIFT, generator)).real == findings.WORSE


def run_of(traffic: Traffic, seconds: float, generator: np.random.Generator) -> Samples:
    """What a run of ``seconds`` measures after a warm-up: each arrival's latency in ms, infinite in an outage."""
    end_s = _WARM_S + seconds
    moments_s = traffic.moments_s(np.random.SeedSequence(int(generator.integers(2**32))))
    blocks = list(itertools.takewhile(lambda block: not len(block) or block[0] < end_s, moments_s))
    intended_s = np.concatenate([[0.0], *blocks])
    intended_s = intended_s[intended_s < end_s]
    service_s = generator.exponential(LOAD / RATE, len(intended_s))
    before_s = np.cumsum(service_s) - service_s
    done_s = np.maximum.accumulate(intended_s - before_s) + before_s + service_s  # Lindley's recursion, written out
    failed = down(intended_s, end_s, generator) if traffic.outages else np.zeros(len(intended_s), bool)
    inside = intended_s >= _WARM_S
    answered_s = done_s[~failed & (done_s >= _WARM_S) & (done_s < end_s)] - _WARM_S
    latency_ms = np.where(failed, np.inf, (done_s - intended_s) * 1e3)[inside]
    return Samples(latency_ms, answered_s, seconds, np.empty(0, bool))


def down(moments_s: np.ndarray, end_s: float, generator: np.random.Generator) -> np.ndarray:
    """Which moments fall into an outage; up and down take turns, each for an exponential time."""
    count = int(10 + 4 * end_s / (_UP_S + _DOWN_S))
    edges_s = np.cumsum(generator.exponential([[_UP_S, _DOWN_S]], size=(count, 2)).ravel())
    return np.searchsorted(edges_s, moments_s) % 2 == 1


def traffic(generator: np.random.Generator) -> None:
    """The table of single runs of queues under traffic of many kinds: which metrics are called between equals."""
    print(f"| traffic at {RATE:g}/s | seconds a run | any | {' | '.join(_ALL)} |\n|---|---|---|{'---|' * len(_ALL)}")
    confidence = compare.confidence_of_each(len(_ALL))
    for name, kind in TRAFFIC.items():
        for seconds in (60, 300, 1_000):
            pairs = [[Side("", "", {}, (run_of(kind, seconds, generator),)) for _ in "ab"] for _ in range(EQUALS)]
            called = np.array([[bool(f.real) for f in compare.compare(a, b, _ALL, confidence)] for a, b in pairs])
            shares = [called.any(axis=1).mean(), *called.mean(axis=0)]
            print(f"| {name} | {seconds:,} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


def main() -> None:
    """Prints the tables."""
    tables = {"single": single, "repeated": repeated, "traffic": traffic}
    for name in sys.argv[1:] or tables:
        tables[name](np.random.default_rng(1))


def single(generator: np.random.Generator) -> None:
    """The tables of two single runs."""
    print("| process | samples a run | a difference called between equals |\n|---|---|---|")
    for name, process in PROCESSES.items():
        for count in (3_000, 20_000, 100_000):
            pairs = ((process(count, generator), process(count, generator)) for _ in range(EQUALS))
            print(
                f"| {name} | {count:,} | {np.mean([calls_a_difference(side(a), side(b)) for a, b in pairs]):.1%} |",
                flush=True,
            )
    print("\n| process | pilot | samples asked for (median) | cannot say | found |\n|---|---|---|---|---|")
    for name, process in PROCESSES.items():
        for pilot in (5_000, 20_000):
            tried = [found_with_the_samples_asked_for(process, pilot, generator) for _ in range(ASKED)]
            report(f"{name} | {pilot:,}", tried)


def repeated(generator: np.random.Generator) -> None:
    """The tables of repeated runs."""
    print("\n| process | rounds | a difference called between equals |\n|---|---|---|")
    for name, process in PROCESSES.items():
        for count in (3, 5, 10):
            called = [calls_a_difference(*rounds(process, count, ROUND, 1.0, generator)) for _ in range(EQUALS)]
            print(f"| {name} | {count} | {np.mean(called):.1%} |", flush=True)
    print("\n| process | pilot | rounds asked for (median) | cannot say | found |\n|---|---|---|---|---|")
    for name, process in PROCESSES.items():
        for pilot in (3, 5):
            tried = [found_with_the_rounds_asked_for(process, pilot, ROUND, generator) for _ in range(ASKED)]
            report(f"{name} | {pilot}", tried)


def report(name: str, tried: list[tuple[int, bool]]) -> None:
    """Prints a row: what was asked for, how often nothing could be said, and how often the difference was found."""
    asked = [(needed, found) for needed, found in tried if needed]
    share = f"{np.mean([found for _, found in asked]):.0%}" if asked else "-"
    median = f"{np.median([needed for needed, _ in asked]):,.0f}" if asked else "-"
    print(f"| {name} | {median} | {1 - len(asked) / len(tried):.0%} | {share} |", flush=True)


if __name__ == "__main__":
    main()
