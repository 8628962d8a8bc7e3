"""Compare: which differences between two measurements are real, and which are worse than a margin allows.

Throughput and percentiles of latency are compared by their ratio B/A, errors and accuracy by their difference B - A. Each
has an interval, and all intervals of one comparison hold together at 95 % (Bonferroni): of a hundred comparisons of a server
with itself at most five call any difference. docs/decisions/0206 has the error rates and the power measured.

Two single runs are compared by the intervals of chatload.statistics, which come from blocks of time. Repeated runs, A and B
in turns, are compared round by round, which holds what differs from run to run as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chatload import contrast, statistics
from chatload.findings import SHARES, Finding
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED

PERCENTILES = {statistics.percentile_name(share): share for share in statistics.PERCENTILES}
METRICS = ("throughput", *PERCENTILES, *SHARES)
USUAL_METRICS = ("throughput", "p50", "p90", "p99", *SHARES)
ERROR_RATE = 0.05
_CURVE_POINTS = 300


class CompareError(ValueError):
    """Sides that cannot be compared; the message says in what they differ and what to do."""


@dataclass(frozen=True)
class Samples:
    """The measured window of one run.

    ``latency_ms`` in order of the intended time, infinite for arrivals that were never answered; ``served`` answers within
    ``duration_s`` seconds; ``correct`` says for each checked answer, in time order, whether it was the expected one.
    """

    latency_ms: np.ndarray
    served: int
    duration_s: float
    correct: np.ndarray


@dataclass(frozen=True)
class Side:
    """One of the things compared: a run, repeated runs of the same thing (``runs``), or windows of an in-process benchmark.

    ``windows`` has, by metric, one value per interval in time order. ``conditions`` must agree with those of the other
    sides; ``faults`` say why the runs cannot speak about the server.
    """

    name: str
    about: str
    conditions: Mapping[str, str]
    runs: tuple[Samples, ...] = ()
    windows: Mapping[str, np.ndarray] | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """B against the baseline A. ``reservations`` say what speaks against comparing them, where that was asked for anyway."""

    a: Side
    b: Side
    findings: tuple[Finding, ...]
    confidence: float
    reservations: tuple[str, ...]


def against_first(sides: Sequence[Side], metrics: Sequence[str], anyway: bool = False) -> list[Comparison]:
    """Every side against the first, in those of ``metrics`` that all of them carry.

    Raises CompareError for sides that cannot be compared, unless ``anyway``, and for those that have nothing in common.
    """
    baseline, others = sides[0], sides[1:]
    reservations = [tuple(differences(baseline, side) + _faults(baseline, side)) for side in others]
    refused = [(side, found) for side, found in zip(others, reservations, strict=True) if found]
    if refused and not anyway:
        side, found = refused[0]
        raise CompareError(
            f"{baseline.name} and {side.name} cannot be compared: {'; '.join(found)} (--anyway compares them)"
        )
    shared = carried(sides, metrics)
    if not shared:
        raise CompareError(f"none of {', '.join(metrics)} is known of every side; name others with --metrics")
    confidence = confidence_of_each(len(shared) * len(others))
    return [
        Comparison(baseline, side, tuple(compare(baseline, side, shared, confidence)), confidence, found)
        for side, found in zip(others, reservations, strict=True)
    ]


def differences(a: Side, b: Side) -> list[str]:
    """The conditions in which two sides differ, for people; empty when they can be compared."""
    names = ["measured"] if a.conditions["measured"] != b.conditions["measured"] else list(a.conditions)
    pairs = [(name, a.conditions[name], b.conditions[name]) for name in names]
    return [f"{name}: {first} against {second}" for name, first, second in pairs if first != second]


def _faults(*sides: Side) -> list[str]:
    return [f"{side.name} is invalid: {fault}" for side in sides for fault in side.faults]


def compare(a: Side, b: Side, metrics: Sequence[str], confidence: float) -> list[Finding]:
    """What became of each of ``metrics``. Raises CompareError for sides of different numbers of runs."""
    if len(a.runs) != len(b.runs) and max(len(a.runs), len(b.runs)) > 1:
        raise CompareError(
            f"{a.name} has {len(a.runs)} runs and {b.name} has {len(b.runs)}: a round is one run of each; "
            "compare equal numbers of runs"
        )
    if len(a.runs) > 1:
        return [_rounds(metric, a.runs, b.runs, confidence) for metric in metrics]
    return [_single(metric, estimate(a, metric, confidence), estimate(b, metric, confidence)) for metric in metrics]


def throughput(side: Side) -> float:
    """Answers per second over all of a side's runs, or the mean over its windows."""
    if side.windows is not None:
        return float(side.windows["throughput"].mean())
    return sum(run.served for run in side.runs) / sum(run.duration_s for run in side.runs)


def confidence_of_each(intervals: int) -> float:
    """The confidence of each of ``intervals`` intervals that hold together at 95 % (Bonferroni)."""
    return 1 - ERROR_RATE / intervals


def carried(sides: Sequence[Side], metrics: Sequence[str]) -> list[str]:
    """Those of ``metrics`` that every side has something to say about."""
    return [metric for metric in metrics if all(_carries(side, metric) for side in sides)]


def _carries(side: Side, metric: str) -> bool:
    if side.windows is not None:
        return metric in side.windows
    return metric != "accuracy" or all(len(run.correct) for run in side.runs)


def estimate(side: Side, metric: str, confidence: float) -> Estimate:
    """A metric of a side of one run, or of the windows of an in-process benchmark (the mean over its windows)."""
    if side.windows is not None:
        return statistics.mean(side.windows[metric], confidence)
    (run,) = side.runs
    return _of_run(run, metric, confidence)


def _of_run(run: Samples, metric: str, confidence: float) -> Estimate:
    if metric == "throughput":
        return statistics.rate(run.served, run.duration_s, confidence)
    if metric == "errors":
        return statistics.proportion(np.isinf(run.latency_ms), independent=True, confidence=confidence)
    if metric == "accuracy":
        return statistics.proportion(run.correct, confidence=confidence)
    return statistics.percentile(run.latency_ms, PERCENTILES[metric], confidence=confidence)


def _single(metric: str, a: Estimate, b: Estimate) -> Finding:
    return Finding(metric, a, b, (contrast.difference if metric in SHARES else contrast.ratio)(a, b))


def _rounds(metric: str, a: Sequence[Samples], b: Sequence[Samples], confidence: float) -> Finding:
    first = [_of_run(run, metric, statistics.CONFIDENCE).value for run in a]
    second = [_of_run(run, metric, statistics.CONFIDENCE).value for run in b]
    if None in first or None in second:
        return Finding(metric, NOT_CARRIED, NOT_CARRIED, NOT_CARRIED)
    values_a, values_b = np.array(first, float), np.array(second, float)
    means = Estimate(float(values_a.mean()), None, None), Estimate(float(values_b.mean()), None, None)
    pooled = [_of_run(_pool(runs), metric, confidence) for runs in (a, b)]
    if metric == "errors":
        over_rounds = contrast.paired_difference(values_a, values_b, confidence)
        return Finding(metric, *means, _wider(over_rounds, contrast.difference(*pooled)))
    if metric == "accuracy":
        return Finding(metric, *means, contrast.paired_difference(values_a, values_b, confidence, _grain(metric, (*a, *b))))
    if sorted([np.isinf(values_a).mean(), np.isinf(values_b).mean()]) == [0, 1]:
        # A side that fails in every round has no ratios of rounds; all its rounds in one say how sure the failing is.
        return Finding(metric, *means, contrast.ratio(*pooled))
    return Finding(metric, *means, contrast.paired_ratio(values_a, values_b, confidence, _grain(metric, (*a, *b))))


def _grain(metric: str, runs: Sequence[Samples]) -> float:
    """One answer more or less is no difference, however exactly rounds of the same arrivals repeat each other."""
    counts = {"throughput": [run.served for run in runs], "accuracy": [len(run.correct) for run in runs]}
    return 1 / max(min(counts[metric]), 1) if metric in counts else 0.0


def _wider(over_rounds: Estimate, pooled: Estimate) -> Estimate:
    """The wider of two intervals on each side: a few rounds without a single error are alike by chance."""
    assert over_rounds.low is not None
    assert over_rounds.high is not None
    assert pooled.low is not None
    assert pooled.high is not None
    return Estimate(over_rounds.value, min(over_rounds.low, pooled.low), max(over_rounds.high, pooled.high))


def _pool(runs: Sequence[Samples]) -> Samples:
    return Samples(
        np.concatenate([run.latency_ms for run in runs]),
        sum(run.served for run in runs),
        sum(run.duration_s for run in runs),
        np.concatenate([run.correct for run in runs]),
    )


def curve(run: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of a run's latency for a plot: shares from 0 up to what its samples reach, by nines, and milliseconds.

    Arrivals that were never answered have no latency to show, so the curve ends where they begin.
    """
    nines = np.linspace(0, math.log10(max(len(run.latency_ms), 1)), _CURVE_POINTS)
    shares = 1 - 10.0**-nines
    ordered = np.sort(run.latency_ms)
    ranks = np.clip(np.ceil(shares * len(ordered)).astype(int) - 1, 0, None)
    known = np.isfinite(ordered[ranks])
    return shares[known], ordered[ranks][known]
