"""Statistics: numbers folded from a run's samples, each with the interval that holds it.

Percentiles are exact order statistics. Their intervals (95 % unless told) are order statistics too (Hahn and Meeker,
Statistical Intervals, ch. 5.2), widened for autocorrelation: waiting times of neighbours in a queue are alike, so n samples
say less than n independent ones. The widening comes from blocks of time (batch means): the share of samples above the
percentile varies from block to block; how much more than independence would make it vary is the design effect, and n
divided by it is the effective number of samples. docs/decisions/0004 has the coverage measured on queues with known answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from chatload import quantiles, samples
from chatload.objective import Estimate

PERCENTILES = (0.50, 0.90, 0.95, 0.99, 0.999, 0.9999)
CONFIDENCE = 0.95
TWO_SIDED = quantiles.normal((1 + CONFIDENCE) / 2)  # standard deviations
# Several block lengths, the widest answer wins: short blocks measure well but miss correlation longer than a block.
BLOCK_COUNTS = (10, 20, 40)
# A run of few effective samples may be shorter than the memory of what it measures: then still longer blocks are asked.
_FEW_EFFECTIVE = 200
_LONG_BLOCKS = 5
_BODY = 0.9  # a level near the tail: below it, slow drifts of microseconds look like correlation
_TREND_BLOCKS = 10
_TREND_CHANCE = 0.01

NOT_CARRIED = Estimate(None, None, None)


def percentile_name(share: float) -> str:
    """p50, p99.9, ... for 0.5, 0.999, ..."""
    return f"p{share * 100:.6g}"


def percentile(
    in_time_order: np.ndarray,
    share: float,
    ascending: np.ndarray | None = None,
    confidence: float = CONFIDENCE,
    failures_independent: bool = True,
) -> Estimate:
    """The ``share`` percentile of values given in time order, with its interval.

    ``ascending`` is the same values sorted, to be given where it is at hand. Values may be infinite: such failures are taken
    as trials of their own, or else as events in time (``failures_independent``, as in proportion). The estimate is
    NOT_CARRIED when there are fewer than needed_samples(share, confidence). ``high`` is infinite when correlation leaves
    too few effective samples to bound it. (To withhold those estimates would be wrong: the runs left over are those whose
    tail happens to look calm, and on an M/M/1 queue 61 % of their intervals held the truth, not 95 %.)
    """
    count = len(in_time_order)
    if count < needed_samples(share, confidence):
        return NOT_CARRIED
    ordered = np.sort(in_time_order) if ascending is None else ascending

    # An outage is one event, but its customers are many: that they failed together does not make their share uncertain.
    failed = np.isinf(in_time_order)
    unanswered = proportion(failed, 1.0 if failures_independent else None, confidence).low
    if unanswered is not None and unanswered > 1 - share:
        return Estimate(math.inf, math.inf, math.inf)

    def at(level: float) -> float:
        return float(ordered[math.ceil(count * level) - 1])

    def above(level: float) -> np.ndarray:
        return in_time_order > at(level) if math.isfinite(at(level)) else failed

    # A tail that is calm by chance hides its correlation; the body of the distribution shows it.
    level = min(share, _BODY)
    body = _inflation(above(level), 1 - level, confidence)
    inflation = max(body, _inflation(above(share), 1 - share, confidence))
    effective = max(int(count / inflation), 1)
    tail = (1 - confidence) / 2
    low_rank = max(quantiles.binomial(tail, effective, share), 1)
    high_rank = quantiles.binomial(1 - tail, effective, share) + 1
    if high_rank <= effective:
        high = float(ordered[math.ceil(high_rank * count / effective) - 1])
    else:
        # The samples above the percentile come in few clumps. Their largest bounds it where the body says that there are
        # samples enough.
        high = float(ordered[-1]) if count / body >= needed_samples(share, confidence) else math.inf
    # effective + 1: the largest of five effective samples is no more than the upper sixth, not the largest of all.
    return Estimate(at(share), float(ordered[math.ceil(low_rank * count / (effective + 1)) - 1]), high)


def needed_samples(share: float, confidence: float = CONFIDENCE) -> int:
    """How many independent samples carry a claim about the ``share`` percentile: at 95 % p99 needs 368, p99.9 needs 3,688.

    With fewer, even the largest of them may lie below the true percentile (probability above 2.5 %).
    """
    return math.ceil(math.log((1 - confidence) / 2) / math.log(share))


def proportion(flags: np.ndarray, effect: float | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """The share of true values among ``flags``, given in time order, with its interval (Clopper-Pearson).

    ``effect`` is how many of them count as one (None: as they cluster in time); 1 takes each as a trial of its own.
    """
    count = len(flags)
    if not count:
        return NOT_CARRIED
    share = float(flags.mean())
    effective = count / (design_effect(flags, confidence) if effect is None else effect)
    return Estimate(share, *share_bounds(share * effective, effective, confidence))


def share_bounds(hits: float, count: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of a share of which ``hits`` of ``count`` independent trials were seen (Clopper-Pearson)."""
    tail = (1 - confidence) / 2
    low = quantiles.beta(tail, hits, count - hits + 1) if hits > 0 else 0.0
    high = quantiles.beta(1 - tail, hits + 1, count - hits) if hits < count else 1.0
    return low, high


def mean(in_time_order: np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """The mean with its interval from the means of blocks of time (Student's t)."""
    blocks = min(BLOCK_COUNTS[1], len(in_time_order))
    if blocks < 2:
        return NOT_CARRIED
    means = _block_means(in_time_order, blocks)
    half = quantiles.student((1 + confidence) / 2, blocks - 1) * means.std(ddof=1) / math.sqrt(blocks)
    value = float(in_time_order.mean())
    # No mean lies below the smallest value, whatever a few very different blocks suggest.
    return Estimate(value, max(value - float(half), float(in_time_order.min())), value + float(half))


def rate(count: int, duration_s: float, confidence: float = CONFIDENCE) -> Estimate:
    """Events per second with the exact interval of a Poisson count (Garwood 1936)."""
    tail = (1 - confidence) / 2
    low = quantiles.chi_squared(tail, 2 * count) / 2 if count else 0.0
    high = quantiles.chi_squared(1 - tail, 2 * count + 2) / 2
    return Estimate(count / duration_s, low / duration_s, high / duration_s)


def design_effect(flags: np.ndarray, confidence: float = CONFIDENCE) -> float:
    """How many of ``flags``, given in time order, count as one trial, by how their share varies over time; at least 1."""
    return _inflation(flags, float(flags.mean()), confidence) if len(flags) else 1.0


def _inflation(flags: np.ndarray, share: float, confidence: float) -> float:
    """How many samples count as one: the design effect of ``flags`` over blocks of time, at least 1."""
    independent = share * (1 - share)
    if independent <= 0:
        return 1.0
    counts = [count for count in BLOCK_COUNTS if len(flags) // count >= 2]
    if not counts:
        return 1.0
    if len(flags) < _FEW_EFFECTIVE * _over_blocks(flags, counts[-1], independent):
        counts = [_LONG_BLOCKS, *counts]
    level = (1 + confidence) / 2
    worst = 1.0
    for count in counts:
        effect = _over_blocks(flags, count, independent)
        if effect > 1:
            # The effect is itself estimated from few blocks: Student's t in place of the normal pays for that.
            effect *= (quantiles.student(level, count - 1) / quantiles.normal(level)) ** 2
        worst = max(worst, float(effect))
    return worst


def _over_blocks(flags: np.ndarray, blocks: int, independent: float) -> float:
    """How much more the share of flags varies from block to block than that of flags with variance ``independent`` would."""
    return float(_block_means(flags, blocks).var(ddof=1) * (len(flags) // blocks) / independent)


def _block_means(values: np.ndarray, blocks: int) -> np.ndarray:
    size = len(values) // blocks
    return values[: blocks * size].reshape(blocks, size).mean(axis=1)


def distribution(in_time_order: np.ndarray, shares: Sequence[float] = PERCENTILES) -> dict[str, Estimate]:
    """Percentiles, mean and maximum of values in time order, by name.

    Mean and maximum speak of the finite values: the latency of an arrival that was never answered has no size.
    """
    ordered = np.sort(in_time_order)
    found = {percentile_name(share): percentile(in_time_order, share, ordered) for share in shares}
    finite = in_time_order[np.isfinite(in_time_order)]
    found["mean"] = mean(finite)
    found["max"] = Estimate(float(finite.max()), None, None) if len(finite) else NOT_CARRIED
    return found


def in_flight(rows: np.ndarray, moments_s: np.ndarray) -> np.ndarray:
    """How many requests were out (intended, not yet done) at each moment; those never done are out to the end."""
    done_s = np.sort(np.where(np.isnan(rows["done_s"]), np.inf, rows["done_s"]))
    begun = np.searchsorted(np.sort(rows["intended_s"]), moments_s, side="right")
    return begun - np.searchsorted(done_s, moments_s, side="right")


def trend(values: np.ndarray) -> float:
    """By what factor a series of equally spaced values changes from its first to its last third; 1 where that is chance.

    Chance is what Kendall's rank test on ten block means calls so (p >= 0.01): it asks for a trend, not for a shape, and a
    periodic stall or a single burst has none.
    """
    means = _block_means(values.astype(float), _TREND_BLOCKS)
    if len(values) < _TREND_BLOCKS or not _ranks_tell(means):
        return 1.0
    third = len(values) // 3
    # One request more or less is no trend, however few there are.
    return (float(values[-third:].mean()) + 1) / (float(values[:third].mean()) + 1)


def _ranks_tell(values: np.ndarray) -> bool:
    """Kendall's rank test of values in time order, by the normal law, the variance as ties leave it (Kendall 1970, ch. 4).

    Of ten values without ties it says what the exact law says.
    """
    count = len(values)
    ties = np.unique(values, return_counts=True)[1]
    variance = (count * (count - 1) * (2 * count + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    rises = np.tril(np.sign(np.subtract.outer(values, values))).sum()  # pairs that rise, less those that fall
    return bool(rises**2 > quantiles.normal(_TREND_CHANCE / 2) ** 2 * variance)


def transient(in_time_order: np.ndarray) -> int:
    """How many values at the start belong to a transient, by MSER-5 (White, Cobb and Spratt 2000).

    Cuts where the standard error of the mean of what is left, in batches of five, is smallest. A cut in the second half says
    that there is no steady part to be found, and counts as none.
    """
    batches = _block_means(in_time_order, len(in_time_order) // 5) if len(in_time_order) >= 10 else np.empty(0)
    count = len(batches)
    if not count:
        return 0
    left = np.arange(count, 0, -1)
    sums, squares = np.cumsum(batches[::-1])[::-1], np.cumsum(batches[::-1] ** 2)[::-1]
    errors = (squares - sums**2 / left) / left**2
    cut = int(np.argmin(errors[: count // 2 + 1]))
    return cut * 5 if cut < count // 2 else 0


def departs_from_poisson(intended_s: np.ndarray, rate: float) -> bool:
    """Whether arrivals in time order are not a Poisson process of constant rate (Kolmogorov-Smirnov, p < 0.0001)."""
    gaps = np.sort(np.diff(intended_s))
    if not len(gaps):
        return False
    law, ranks = -np.expm1(-gaps * rate), np.arange(len(gaps) + 1) / len(gaps)
    distance = max(float((ranks[1:] - law).max()), float((law - ranks[:-1]).max()))
    # Kolmogorov's law is that of many gaps. Of a hundred it asks for a distance 1 % larger than the exact one does.
    return bool(special.kolmogorov(math.sqrt(len(gaps)) * distance) < 1e-4)


def summarise(rows: np.ndarray, expected: np.ndarray, start_s: float, end_s: float) -> dict:
    """The summary of a run's measured window, from rows of samples.DTYPE and for each row whether it has a known intent.

    A sample belongs to the window its intended time falls in. Returns the ``summary`` of the run folder's run.json with
    Estimates in place of their JSON form.
    """
    inside = (rows["intended_s"] >= start_s) & (rows["intended_s"] < end_s)
    served = int(np.count_nonzero(samples.answered(rows) & (rows["done_s"] >= start_s) & (rows["done_s"] < end_s)))
    order = np.argsort(rows["intended_s"][inside], kind="stable")
    rows, labelled = rows[inside][order], expected[inside][order]
    answered = samples.answered(rows)
    sent = ~np.isnan(rows["sent_s"])
    checked = answered & labelled
    return {
        **tally(outcome_counts(rows), int(np.count_nonzero(sent)), served, end_s - start_s),
        "latency_ms": distribution(samples.latency_ms(rows)),
        "service_ms": distribution((rows["done_s"] - rows["sent_s"])[answered] * 1e3),
        "lag_ms": distribution(samples.lag_ms(rows)[sent]),
        "server_ms": {
            step: distribution(rows[f"{step}_ms"][answered & ~np.isnan(rows[f"{step}_ms"])].astype(float))
            for step in ("tokenize", "infer")
        },
        "accuracy": {
            "checked": int(np.count_nonzero(checked)),
            "correct": int(np.count_nonzero(rows["outcome"][checked] == samples.OK)),
            "share": proportion(rows["outcome"][checked] == samples.OK),
        },
    }


def outcome_counts(rows: np.ndarray) -> dict[int, int]:
    """How many rows have each outcome, by its code."""
    return {int(code): int(count) for code, count in zip(*np.unique(rows["outcome"], return_counts=True), strict=True)}


def tally(counts: Mapping[int, int], sent: int, served: int, duration_s: float) -> dict:
    """What a summary says that follows from counts alone: of outcomes by code, of requests sent and of answers served."""
    known = {samples.OK: "ok", samples.WRONG: "wrong", samples.DROPPED: "dropped", samples.UNFINISHED: "unfinished"}
    named = {name: counts.get(code, 0) for code, name in known.items()}
    planned = sum(counts.values())
    unanswered = planned - named["ok"] - named["wrong"]
    return {
        "planned": planned,
        "sent": sent,
        "ok": named["ok"],
        "wrong": named["wrong"],
        "failed": planned - sum(named.values()),
        "dropped": named["dropped"],
        "unfinished": named["unfinished"],
        "offered_rate": planned / duration_s,
        "throughput": rate(served, duration_s),
        "errors": Estimate(unanswered / planned, *share_bounds(unanswered, planned)) if planned else NOT_CARRIED,
        "outcomes": {samples.outcome_name(code): count for code, count in sorted(counts.items())},
    }
