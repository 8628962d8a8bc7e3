"""Compare: which differences between two measurements are real, and which are worse than a margin allows.

Throughput and percentiles of latency are compared by their ratio B/A, errors and accuracy by their difference B - A. Each
has an interval, and all intervals of one comparison hold together at 95 % (Bonferroni): of a hundred comparisons of a server
with itself at most five call any difference. docs/decisions/0206 has the error rates and the power measured.

Two single runs are compared by how their blocks of time differ. Repeated runs, A and B in turns, are compared round by
round, which holds what differs from run to run as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chatload import conditions, contrast, statistics
from chatload.findings import SHARES, Finding
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED

PERCENTILES = {statistics.percentile_name(share): share for share in statistics.PERCENTILES}
METRICS = ("throughput", *PERCENTILES, *SHARES)
USUAL_METRICS = ("throughput", "p50", "p90", "p99", *SHARES)
ERROR_RATE = 0.05


class CompareError(ValueError):
    """Sides that cannot be compared; the message says in what they differ and what to do."""


@dataclass(frozen=True)
class Samples:
    """The measured window of one run.

    ``latency_ms`` in order of the intended time, infinite for arrivals that were never answered; ``done_s`` the moments of
    the answers within its ``duration_s`` seconds, from its start; ``correct`` says for each checked answer, in time order,
    whether it was the expected one.
    """

    latency_ms: np.ndarray
    done_s: np.ndarray
    duration_s: float
    correct: np.ndarray

    def served(self, parts: int) -> np.ndarray:
        """How many answers were given in each of so many equal parts of the window."""
        return np.histogram(self.done_s, np.linspace(0, self.duration_s, parts + 1))[0]


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
    """B against the baseline A. ``reservations`` say what speaks against comparing them, where that was asked for anyway.

    ``left_out`` are usual metrics that not every side knows.
    """

    a: Side
    b: Side
    findings: tuple[Finding, ...]
    confidence: float
    reservations: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def against_first(sides: Sequence[Side], metrics: Sequence[str] | None = None, anyway: bool = False) -> list[Comparison]:
    """Every side against the first in each of ``metrics`` (None: in the usual ones that all sides know).

    Raises CompareError for sides that cannot be compared, unless ``anyway``, and for a metric of ``metrics`` that a side
    does not know.
    """
    baseline, others = sides[0], sides[1:]
    reservations = [
        tuple(conditions.differences(baseline.conditions, side.conditions) + _faults(baseline, side)) for side in others
    ]
    refused = [(side, found) for side, found in zip(others, reservations, strict=True) if found]
    if refused and not anyway:
        side, found = refused[0]
        raise CompareError(
            f"{baseline.name} and {side.name} cannot be compared: {'; '.join(found)} "
            "(--anyway compares them; make: COMPARE_OPTIONS=--anyway)"
        )
    shared = known(sides, USUAL_METRICS) if metrics is None else _all_known(sides, metrics)
    left_out = tuple(metric for metric in USUAL_METRICS if metric not in shared) if metrics is None else ()
    confidence = confidence_of_each(len(shared) * len(others))
    return [
        Comparison(baseline, side, tuple(compare(baseline, side, shared, confidence)), confidence, found, left_out)
        for side, found in zip(others, reservations, strict=True)
    ]


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
    return [_single(metric, a, b, confidence) for metric in metrics]


def throughput(side: Side) -> float:
    """Answers per second over all of a side's runs, or the mean over its windows."""
    if side.windows is not None:
        return float(side.windows["throughput"].mean())
    return sum(len(run.done_s) for run in side.runs) / sum(run.duration_s for run in side.runs)


def confidence_of_each(intervals: int) -> float:
    """The confidence of each of ``intervals`` intervals that hold together at 95 % (Bonferroni)."""
    return 1 - ERROR_RATE / intervals


def known(sides: Sequence[Side], metrics: Sequence[str]) -> list[str]:
    """Those of ``metrics`` that every side has something to say about."""
    return [metric for metric in metrics if all(_knows(side, metric) for side in sides)]


def _all_known(sides: Sequence[Side], metrics: Sequence[str]) -> list[str]:
    """All of ``metrics``. Raises CompareError where a side does not know one: no gate passes on what was not compared."""
    for side in sides:
        unknown = [metric for metric in metrics if not _knows(side, metric)]
        if unknown:
            why = f"it knows {', '.join(side.windows)}" if side.windows else "none of its answers was checked"
            raise CompareError(f"{side.name} has no {unknown[0]} ({why}): leave it out of --metrics")
    return list(metrics)


def _knows(side: Side, metric: str) -> bool:
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
        parts = statistics.BLOCK_COUNTS[1]
        return statistics.mean(run.served(parts) * parts / run.duration_s, confidence)
    if metric in SHARES:
        return statistics.proportion(_flags(run, metric), confidence=confidence)
    return statistics.percentile(run.latency_ms, PERCENTILES[metric], confidence=confidence, failures_independent=False)


def _flags(run: Samples, metric: str) -> np.ndarray:
    return run.correct if metric == "accuracy" else np.isinf(run.latency_ms)


def _single(metric: str, a: Side, b: Side, confidence: float) -> Finding:
    parts = estimate(a, metric, confidence), estimate(b, metric, confidence)
    if a.runs and b.runs:
        return Finding(metric, *parts, _change(metric, a.runs[0], b.runs[0], confidence))
    return Finding(metric, *parts, contrast.ratio(*parts))


def _change(metric: str, a: Samples, b: Samples, confidence: float) -> Estimate:
    """From one run to another: a ratio, or the difference of shares."""
    if metric == "throughput":
        of_a, of_b = ([run.served(parts) for parts in statistics.BLOCK_COUNTS] for run in (a, b))
        return contrast.rate_ratio(of_a, of_b, (a.duration_s, b.duration_s), confidence)
    if metric in SHARES:
        # An outage that only one side saw: as few events as that might as well be none on the other.
        flags = [_flags(run, metric) for run in (a, b)]
        effect = max(statistics.design_effect(part, confidence) for part in flags)
        return contrast.difference(*[statistics.proportion(part, effect, confidence) for part in flags])
    return contrast.ratio(*[_of_run(run, metric, confidence) for run in (a, b)])


def _rounds(metric: str, a: Sequence[Samples], b: Sequence[Samples], confidence: float) -> Finding:
    first = [_of_run(run, metric, statistics.CONFIDENCE).value for run in a]
    second = [_of_run(run, metric, statistics.CONFIDENCE).value for run in b]
    if None in first or None in second:
        return Finding(metric, NOT_CARRIED, NOT_CARRIED, NOT_CARRIED)
    values = np.array([first, second], float)
    of_a, of_b = (Estimate(float(side.mean()), None, None) for side in values)
    return Finding(metric, of_a, of_b, _change_over_rounds(metric, values, a, b, confidence))


def _change_over_rounds(
    metric: str, values: np.ndarray, a: Sequence[Samples], b: Sequence[Samples], confidence: float
) -> Estimate:
    first, second = values
    if metric == "errors":
        over_rounds = contrast.paired_difference(first, second, confidence)
        return _wider(over_rounds, _change(metric, _pool(a), _pool(b), confidence))
    if metric == "accuracy":
        return contrast.paired_difference(first, second, confidence, _grain(metric, (*a, *b)))
    without_ratio = np.isinf(values) | (values == 0)
    if sorted(without_ratio.mean(axis=1)) == [0, 1]:
        # A side that fails in every round has no ratios of rounds; all its rounds in one say how sure the failing is.
        return _change(metric, _pool(a), _pool(b), confidence)
    return contrast.paired_ratio(first, second, confidence, _grain(metric, (*a, *b)))


def _grain(metric: str, runs: Sequence[Samples]) -> float:
    """One answer more or less is no difference, however exactly rounds of the same arrivals repeat each other."""
    counts = {"throughput": [len(run.done_s) for run in runs], "accuracy": [len(run.correct) for run in runs]}
    return 1 / max(min(counts[metric]), 1) if metric in counts else 0.0


def _wider(over_rounds: Estimate, pooled: Estimate) -> Estimate:
    """The wider of two intervals on each side: a few rounds without a single error are alike by chance."""
    assert over_rounds.low is not None
    assert over_rounds.high is not None
    assert pooled.low is not None
    assert pooled.high is not None
    return Estimate(over_rounds.value, min(over_rounds.low, pooled.low), max(over_rounds.high, pooled.high))


def _pool(runs: Sequence[Samples]) -> Samples:
    starts_s = np.cumsum([0.0, *(run.duration_s for run in runs)])
    return Samples(
        np.concatenate([run.latency_ms for run in runs]),
        np.concatenate([run.done_s + start_s for run, start_s in zip(runs, starts_s, strict=False)]),
        float(starts_s[-1]),
        np.concatenate([run.correct for run in runs]),
    )
