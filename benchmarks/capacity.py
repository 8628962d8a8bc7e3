"""How near to the truth the capacity search comes, and at what price, on queues whose capacity theory gives.

    python -m benchmarks.capacity [SEARCHES]        100 searches of each queue: a minute or two

Every search is chatload.capacity.decide, fed with simulated probes (Poisson arrivals, Lindley's recursion, an empty queue at
the start, the first 5 s left out), judged as a run is judged. The objective is p99<100ms, the lowest rate 20/s. In the last
rows one probe of each search met a bad minute of its machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chatload import capacity, objective, queueing, statistics
from chatload.capacity import End, Plan, Probe, Step
from chatload.objective import Estimate

WARMUP_S = 5.0
_ABORT_S = 5.0
_ORDINALS = ("1st", "2nd", "3rd")
_ANSWERS = {objective.MET: capacity.PASS, objective.MISSED: capacity.FAIL, objective.UNDECIDED: capacity.UNDECIDED}

# The service times (s) of so many customers.
Law = Callable[[int, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Queue:
    """A server with one worker, its law and mean service time; ``percentile_s(rate, service_s, share)`` as in queueing."""

    name: str
    service_s: float
    law: Law
    percentile_s: Callable[[float, float, float], float]

    def capacity(self, limit_s: float, share: float) -> float:
        """The rate (/s) at which the percentile is ``limit_s``, by bisection of theory."""
        low, high = 0.0, 1 / self.service_s
        while high - low > 1e-6 / self.service_s:
            middle = (low + high) / 2
            low, high = (middle, high) if self.percentile_s(middle, self.service_s, share) < limit_s else (low, middle)
        return low


def mm1(service_s: float) -> Queue:
    """Exponential service times."""
    return Queue(
        "M/M/1", service_s, lambda count, draw: draw.exponential(service_s, count), queueing.mm1_latency_percentile_s
    )


def md1(service_s: float) -> Queue:
    """Service times that are all the same."""
    return Queue("M/D/1", service_s, lambda count, _: np.full(count, service_s), queueing.md1_latency_percentile_s)


def search(queue: Queue, plan: Plan, seed: int, bad: int | None = None) -> tuple[list[Probe], End]:
    """A whole search against a simulated queue: its probes and its end. The ``bad``-th probe, from 0, meets a bad minute."""
    draw, probes = np.random.default_rng(seed), list[Probe]()
    while isinstance(step := capacity.decide(probes, plan), Step):
        probe = _probe(queue, step, plan, draw)
        probes.append(_met_a_bad_minute(probe, plan) if len(probes) == bad else probe)
    return probes, step


def _met_a_bad_minute(probe: Probe, plan: Plan) -> Probe:
    """As a machine that stood still for a second or two makes it: over the limit, by a third, and not decided."""
    if probe.answer == capacity.FAIL:
        return probe
    clause = plan.clauses[0]
    slow = {clause.subject: Estimate(clause.limit * 4 / 3, clause.limit * 0.4, None)}
    return replace(probe, answer=capacity.UNDECIDED, latency_ms=slow)


def _probe(queue: Queue, step: Step, plan: Plan, draw: np.random.Generator) -> Probe:
    at_s, latency_ms = _latencies(queue, step, draw)
    end_s = _aborted_s(at_s, latency_ms, plan.clauses[0].limit, step.most_s)
    for look_s in (*capacity.looks_s(step), step.most_s):
        found = _judge(step, plan, at_s, latency_ms, min(look_s, end_s))
        if found.answer != capacity.UNDECIDED or look_s >= end_s:
            break
    return found


def _latencies(queue: Queue, step: Step, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(arrival in measured seconds, latency in ms) of a probe's customers."""
    seconds = WARMUP_S + step.most_s
    count = int(draw.poisson(step.rate * seconds))
    at_s, service_s = np.sort(draw.uniform(0, seconds, count)), queue.law(count, draw)
    steps = np.concatenate([[0], np.cumsum(service_s[:-1] - np.diff(at_s))])
    latency_s = steps - np.minimum.accumulate(steps) + service_s
    measured = at_s >= WARMUP_S
    return at_s[measured] - WARMUP_S, latency_s[measured] * 1e3


def _aborted_s(at_s: np.ndarray, latency_ms: np.ndarray, limit_ms: float, most_s: float) -> float:
    """When a probe is given up: as soon as half of the answers of the last seconds took twice the limit."""
    done_s = at_s + latency_ms / 1e3
    for now_s in np.arange(_ABORT_S, most_s):
        latest = latency_ms[(done_s > now_s - _ABORT_S) & (done_s <= now_s)]
        if len(latest) and np.median(latest) > 2 * limit_ms:
            return float(now_s)
    return most_s


def _judge(step: Step, plan: Plan, at_s: np.ndarray, latency_ms: np.ndarray, end_s: float) -> Probe:
    clause = plan.clauses[0]
    seen = latency_ms[at_s < end_s]
    estimate = statistics.percentile(seen, 0.99)
    answer = _ANSWERS[clause.judge(estimate, step.rate)]
    missed = (clause.subject,) if answer == capacity.FAIL else ()
    served, offered = Estimate(None, None, None), len(seen) / end_s
    return Probe(step.rate, answer, step.purpose, {clause.subject: estimate}, len(seen), end_s, served, offered, missed)


def row(queue: Queue, probe_s: float, searches: int, bad: int | None = None) -> str:
    """The table's row for so many searches."""
    plan = Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=probe_s)
    truth = queue.capacity(0.1, 0.99)
    found = [search(queue, plan, seed, bad) for seed in range(searches)]
    answers = [end.answer for _, end in found if end.answer is not None]
    errors = np.array([answer.rate / truth - 1 for answer in answers])
    held = sum(answer.low <= truth <= answer.high for answer in answers)
    probes = [len(made) for made, _ in found]
    cells = [
        f"{queue.name}, {queue.service_s * 1e3:g} ms",
        f"{truth:.1f}/s ({truth * queue.service_s:.1%} busy)",
        f"{probe_s:g} s",
        "none" if bad is None else _ORDINALS[bad],
        f"{np.count_nonzero(abs(errors) <= 0.03)} of {searches}",
        f"{errors.mean():+.2%}, {errors.std():.2%}",
        f"{held} of {searches}",
        f"{np.mean(probes):.1f} (at most {max(probes)})",
        _mean(found, lambda probe: probe.samples),
        f"{_mean(found, lambda probe: probe.seconds + WARMUP_S)} s",
    ]
    return f"| {' | '.join(cells)} |"


def _mean(found: Sequence[tuple[list[Probe], End]], what: Callable[[Probe], float]) -> str:
    return f"{np.mean([sum(map(what, probes)) for probes, _ in found]):,.0f}"


def main() -> None:
    """Prints the table."""
    searches = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    heads = ("queue", "capacity by theory", "a probe", "bad", "within 3 %", "error: mean, sd", "theory inside", "probes")
    print(f"| {' | '.join((*heads, 'samples', 'time'))} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for make in (mm1, md1):
        for service_s, probe_s in ((0.001, 60), (0.002, 60), (0.005, 60), (0.005, 120), (0.01, 120), (0.01, 300)):
            print(row(make(service_s), probe_s, searches), flush=True)
    print(row(mm1(0.01), 600, searches), flush=True)
    for make in (mm1, md1):
        for bad in range(len(_ORDINALS)):
            print(row(make(0.005), 60, searches, bad), flush=True)


if __name__ == "__main__":
    main()
