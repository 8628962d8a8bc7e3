"""Findings: for a metric of two sides whether its difference is real, passes a gate, and what it takes to decide that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatload import contrast
from chatload.objective import Estimate

SHARES = ("errors", "accuracy")
_HIGHER_IS_BETTER = {"throughput", "accuracy"}

BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "same", "undecided"


@dataclass(frozen=True)
class Margins:
    """What is too small to matter: a share of the value for ratios, percentage points (as a share) for shares."""

    ratio: float = 0.05
    points: float = 0.01

    def of(self, metric: str) -> float:
        """The margin on the scale of Finding.harm."""
        return self.points if metric in SHARES else math.log1p(self.ratio)


@dataclass(frozen=True)
class Finding:
    """One metric of A and of B, and their ``change``: the ratio B/A, or the difference B - A of shares."""

    metric: str
    a: Estimate
    b: Estimate
    change: Estimate

    @property
    def harm(self) -> tuple[float, float]:
        """How much worse B is, as an interval in which 0 is no change: a log ratio, or a difference of shares."""
        if self.change.low is None or self.change.high is None:
            return -math.inf, math.inf
        low, high = self.change.low, self.change.high
        if self.metric not in SHARES:
            low, high = contrast.log(low), contrast.log(high)
        return (-high, -low) if self.metric in _HIGHER_IS_BETTER else (low, high)

    @property
    def real(self) -> str:
        """BETTER or WORSE where the difference is real, that is, where its interval leaves out no change; else empty."""
        low, high = self.harm
        return WORSE if low > 0 else BETTER if high < 0 else ""

    def within(self, margins: Margins) -> str:
        """WORSE or BETTER by more than the margin, SAME within the margin both ways, or UNDECIDED between these."""
        (low, high), margin = self.harm, margins.of(self.metric)
        if low > margin or high < -margin:
            return self.real
        return SAME if -margin < low and high < margin else UNDECIDED

    def gate(self, margins: Margins) -> str:
        """WORSE when B is worse by more than the margin, SAME when it is not (better or the same), else UNDECIDED."""
        (low, high), margin = self.harm, margins.of(self.metric)
        return WORSE if low > margin else SAME if high < margin else UNDECIDED


def gate(findings: Sequence[Finding], margins: Margins) -> str:
    """WORSE when any metric is worse by more than its margin, SAME when none is for sure, else UNDECIDED."""
    answers = {finding.gate(margins) for finding in findings}
    return WORSE if WORSE in answers else UNDECIDED if UNDECIDED in answers else SAME


def needed_samples(finding: Finding, counts: tuple[int, int], margins: Margins, confidence: float) -> int | None:
    """How many arrivals each of two single runs, now of ``counts`` arrivals, must have to find a difference of the margin.

    Where there are enough for that already and the change lies near the margin: to say on which side. None where these are
    too few to tell: an interval without an upper end says nothing about how it will shrink.
    """
    times = needed_times(finding, margins, confidence)
    return None if times is None else math.ceil(times * 2 / (1 / counts[0] + 1 / counts[1]))


def needed_rounds(finding: Finding, rounds: int, margins: Margins, confidence: float) -> int | None:
    """The same in rounds of the same length."""
    half = _half_width(finding)
    if half is None:
        return None
    needed = contrast.needed_rounds(half, rounds, margins.of(finding.metric), confidence)
    if needed is None or needed > rounds:
        return needed
    placing = rounds * _placing_factor(finding, half, margins)
    return math.ceil(placing) if math.isfinite(placing) else None


def needed_times(finding: Finding, margins: Margins, confidence: float) -> float | None:
    """The same in times the length of what was measured."""
    half = _half_width(finding)
    if half is None:
        return None
    times = contrast.needed_factor(half, margins.of(finding.metric), confidence)
    times = times if times > 1 else _placing_factor(finding, half, margins)
    return times if math.isfinite(times) else None


def _half_width(finding: Finding) -> float | None:
    low, high = finding.harm
    return (high - low) / 2 if math.isfinite(high - low) else None


def _placing_factor(finding: Finding, half: float, margins: Margins) -> float:
    """By what factor the measurement must be longer for its interval to clear the margin that its middle is nearest to."""
    distance = abs(abs(sum(finding.harm) / 2) - margins.of(finding.metric))
    return (half / distance) ** 2 if distance else math.inf
