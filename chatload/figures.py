"""Figures: the arrays that a report draws, folded from a run's samples.

Bins, counts and percentiles, never samples: a report of a million samples is as small as one of a thousand. What the
samples of a bin cannot carry is not drawn (statistics.needed_samples).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chatload import groups, samples, statistics
from chatload.corpus import Utterance
from chatload.objective import Estimate

_LINE_SHARES = (0.50, 0.90, 0.99, 0.999)
_LAG_SHARES = (0.50, 0.99, 0.999)
_GROUP_SHARES = (0.50, 0.90, 0.99)
_BAND_SHARES = (0.0, 0.50, 0.90, 0.99, 0.999, 1.0)
_CURVE_POINTS = 60
_TIME_BINS = 100
_LATENCY_BINS = 60
_MOMENTS = 400
_SLICES = 10
_REST = "connect, queue, network"
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


@dataclass(frozen=True)
class Point:
    """One point of the percentile curve, in ms; ``service_ms`` is the same percentile of the service time."""

    share: float
    latency: Estimate
    service_ms: float | None


@dataclass(frozen=True)
class Line:
    """A quantity over time, in steps: ``values[i]`` from ``edges_s[i]`` to ``edges_s[i + 1]``; NaN: nothing to show."""

    name: str
    edges_s: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Slice:
    """A tenth of the measured window in numbers: rates per second, percentiles in ms, how many were not answered."""

    start_s: float
    end_s: float
    offered: float
    served: float
    latency_ms: dict[str, Estimate]
    unanswered: int


@dataclass(frozen=True)
class Heat:
    """How many answers (``counts[latency bin, time bin]``) took how long, by intended time; edges in s and log10 ms."""

    edges_s: np.ndarray
    edges_log_ms: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Band:
    """Where the time of the answers between two percentiles of latency goes: ``parts_ms`` add up to their mean latency."""

    name: str
    count: int
    parts_ms: dict[str, float]


@dataclass(frozen=True)
class Group:
    """Latency and accuracy of a part of the utterances; ``mistaken_for`` is the most frequent wrong intent, or empty."""

    name: str
    count: int
    latency_ms: dict[str, Estimate]
    checked: int
    accuracy: Estimate
    mistaken_for: str


@dataclass(frozen=True)
class Figures:
    """All that a report draws. ``latency`` and ``lag`` are percentiles in ms over the measured window; ``traffic`` are
    rates per second, ``failures`` counts per outcome, over the whole run; ``moments_s`` and ``in_flight`` are points.
    """

    curve: tuple[Point, ...]
    latency: tuple[Line, ...]
    slices: tuple[Slice, ...]
    traffic: tuple[Line, ...]
    failures: tuple[Line, ...]
    heat: Heat | None
    bands: tuple[Band, ...]
    lengths: tuple[Group, ...]
    intents: tuple[Group, ...]
    lag: tuple[Line, ...]
    moments_s: np.ndarray
    in_flight: np.ndarray


def build(rows: np.ndarray, utterances: Sequence[Utterance], labels: Sequence[str], start_s: float, end_s: float) -> Figures:
    """The figures of a run from its rows (samples.DTYPE; ``predicted`` indexes ``labels``), measured between two moments."""
    rows = rows[np.argsort(rows["intended_s"], kind="stable")]
    edges_s = time_edges_s(max(end_s, float(rows["intended_s"][-1]) if len(rows) else 0.0))
    moments_s = np.linspace(0.0, edges_s[-1], _MOMENTS)
    window = rows[(rows["intended_s"] >= start_s) & (rows["intended_s"] < end_s)]
    sent = window[~np.isnan(window["sent_s"])]
    lag_ms = samples.lag_ms(sent)
    return Figures(
        curve=curve(samples.latency_ms(window), (window["done_s"] - window["sent_s"]) * 1e3),
        latency=_lines(window["intended_s"], samples.latency_ms(window), _LINE_SHARES, end_s),
        slices=_slices(rows, start_s, end_s),
        traffic=_traffic(rows, edges_s),
        failures=_failures(rows, edges_s),
        heat=_heat(rows, edges_s),
        bands=_bands(window),
        lengths=_groups(groups.by_length(window, utterances, labels)),
        intents=_groups(groups.by_intent(window, utterances, labels)),
        lag=_lines(sent["intended_s"], lag_ms, _LAG_SHARES, end_s),
        moments_s=moments_s,
        in_flight=statistics.in_flight(rows[~np.isnan(rows["done_s"])], moments_s),
    )


def cpu(generators: Sequence[dict]) -> tuple[Line, ...]:
    """Each generator process's share of a core over time, from the CPU seconds in its facts (generator.Facts)."""
    lines = []
    for facts in generators:
        moments_s, used_s = np.array(facts["cpu"], dtype=float).reshape(-1, 2).T
        apart = np.diff(moments_s, prepend=-np.inf) > 0  # two readings at one moment have no share between them
        moments_s, used_s = moments_s[apart], used_s[apart]
        if len(moments_s) > 1:
            lines.append(Line(f"process {facts['worker']}", moments_s, np.diff(used_s) / np.diff(moments_s)))
    return tuple(lines)


def time_edges_s(end_s: float) -> np.ndarray:
    """Edges of at most _TIME_BINS bins of a round width, at least a second, from 0 to ``end_s``."""
    width_s = next((width for width in _WIDTHS_S if end_s <= width * _TIME_BINS), end_s / _TIME_BINS)
    bins = max(round(end_s / width_s), 1)  # the last bin takes up what is less than half a bin
    return np.append(np.arange(bins) * float(width_s), max(end_s, width_s / 2))


def curve(latency_ms: np.ndarray, service_ms: np.ndarray | None = None) -> tuple[Point, ...]:
    """The percentile curve of latencies in time order, up to what they carry or to the first that was never answered."""
    ordered = np.sort(latency_ms)
    services = np.sort(np.where(np.isfinite(latency_ms), np.inf if service_ms is None else service_ms, np.inf))
    points = []
    for share in _curve_shares(len(latency_ms)):
        estimate = statistics.percentile(latency_ms, share, ordered)
        if estimate.value is None or math.isinf(estimate.value):
            break
        service = float(services[math.ceil(len(services) * share) - 1])
        points.append(Point(share, estimate, service if math.isfinite(service) else None))
    return tuple(points)


def _curve_shares(count: int) -> list[float]:
    """Evenly spaced by nines from 10 % to the highest share that so many samples carry, and the named percentiles."""
    if count < statistics.needed_samples(0.5):
        return []
    first, last = nines(0.1), nines(0.025 ** (1 / count))  # the inverse of statistics.needed_samples
    grid = {float(1 - 10**-x) for x in np.linspace(first, last, _CURVE_POINTS)}
    return [share for share in sorted(grid | set(statistics.PERCENTILES)) if statistics.needed_samples(share) <= count]


def nines(share: float) -> float:
    """Where a percentile stands on an axis that is logarithmic by nines: 90 % at 1, 99 % at 2, 99.9 % at 3."""
    return -math.log10(1 - share)


def _lines(times_s: np.ndarray, values: np.ndarray, shares: Sequence[float], end_s: float) -> tuple[Line, ...]:
    """Percentiles over time, values given in time order; steps as wide as their percentile needs samples."""
    lines = []
    for share in shares:
        steps = min(len(values) // statistics.needed_samples(share), _TIME_BINS)
        if not steps:
            continue
        pieces = np.array_split(values, steps)
        starts = np.cumsum([0] + [len(piece) for piece in pieces[:-1]])
        found = np.array([np.sort(piece)[math.ceil(len(piece) * share) - 1] for piece in pieces])
        edges_s = np.append(times_s[starts], end_s)
        lines.append(Line(statistics.percentile_name(share), edges_s, np.where(np.isfinite(found), found, np.nan)))
    return tuple(lines)


def _slices(rows: np.ndarray, start_s: float, end_s: float) -> tuple[Slice, ...]:
    edges_s = np.linspace(start_s, end_s, _SLICES + 1).tolist() if end_s > start_s else []
    slices = []
    for since_s, until_s in zip(edges_s, edges_s[1:], strict=False):
        part = rows[(rows["intended_s"] >= since_s) & (rows["intended_s"] < until_s)]
        answered = samples.answered(rows) & (rows["done_s"] >= since_s) & (rows["done_s"] < until_s)
        slices.append(
            Slice(
                since_s,
                until_s,
                len(part) / (until_s - since_s),
                np.count_nonzero(answered) / (until_s - since_s),
                statistics.distribution(samples.latency_ms(part), _GROUP_SHARES),
                int(np.count_nonzero(~samples.answered(part))),
            )
        )
    return tuple(slices)


def _traffic(rows: np.ndarray, edges_s: np.ndarray) -> tuple[Line, ...]:
    served_s = rows["done_s"][samples.answered(rows)]
    per_s = [np.histogram(times_s, edges_s)[0] / np.diff(edges_s) for times_s in (rows["intended_s"], served_s)]
    return Line("offered", edges_s, per_s[0]), Line("served", edges_s, per_s[1])


def _failures(rows: np.ndarray, edges_s: np.ndarray) -> tuple[Line, ...]:
    """Arrivals that were not answered, by outcome and intended time."""
    failed = rows[~samples.answered(rows)]
    return tuple(
        Line(
            samples.outcome_name(int(code)),
            edges_s,
            np.histogram(failed["intended_s"][failed["outcome"] == code], edges_s)[0].astype(float),
        )
        for code in np.unique(failed["outcome"])
    )


def _heat(rows: np.ndarray, edges_s: np.ndarray) -> Heat | None:
    answers = rows[samples.answered(rows)]
    if not len(answers):
        return None
    log_ms = np.log10(np.maximum(samples.latency_ms(answers), 1e-3))
    low, high = math.floor(log_ms.min() * 10) / 10, math.floor(log_ms.max() * 10) / 10 + 0.1
    edges_log_ms = np.linspace(low, high, min(round((high - low) * 20), _LATENCY_BINS) + 1)
    counts, _, _ = np.histogram2d(log_ms, answers["intended_s"], (edges_log_ms, edges_s))
    return Heat(edges_s, edges_log_ms, counts)


def _bands(window: np.ndarray) -> tuple[Band, ...]:
    answers = window[samples.answered(window)]
    answers = answers[np.argsort(samples.latency_ms(answers), kind="stable")]
    cuts = [round(len(answers) * share) for share in _BAND_SHARES]
    bands = []
    for lower, upper, first, last in zip(_BAND_SHARES, _BAND_SHARES[1:], cuts, cuts[1:], strict=False):
        if first < last:
            upto = "slowest" if upper == 1 else statistics.percentile_name(upper)
            since = "fastest" if lower == 0 else statistics.percentile_name(lower)
            bands.append(Band(f"{since} to {upto}", last - first, _parts_ms(answers[first:last])))
    return tuple(bands)


def where(window: np.ndarray) -> dict[str, dict[str, float]]:
    """Where the time of a window's answers goes: for each part of their latency its mean and its median, in ms.

    The means add up to the mean latency.
    """
    answers = window[samples.answered(window)]
    if not len(answers):
        return {}
    means = _parts_ms(answers)
    service_ms = (answers["done_s"] - answers["sent_s"]) * 1e3
    rest_ms = service_ms - answers["tokenize_ms"] - answers["infer_ms"]
    values = {
        "lag": samples.lag_ms(answers),
        "held": answers["held_s"] * 1e3,
        "service": service_ms,
        _REST: np.maximum(rest_ms, 0.0),
        "tokenize": answers["tokenize_ms"],
        "infer": answers["infer_ms"],
    }
    return {name: {"mean": mean, "p50": float(np.median(values[name]))} for name, mean in means.items()}


def _parts_ms(answers: np.ndarray) -> dict[str, float]:
    held_ms = float(answers["held_s"].mean() * 1e3)
    waited = {"lag": float(samples.lag_ms(answers).mean())} | ({"held": held_ms} if held_ms else {})
    service_ms = float((answers["done_s"] - answers["sent_s"]).mean() * 1e3)
    tokenize_ms, infer_ms = float(answers["tokenize_ms"].mean()), float(answers["infer_ms"].mean())
    if math.isnan(tokenize_ms + infer_ms):  # an answer without Server-Timing: the server does not tell its parts
        return {**waited, "service": service_ms}
    # The server's clock is not the client's: where it claims more than was waited, nothing is left for the rest.
    rest_ms = max(service_ms - tokenize_ms - infer_ms, 0.0)
    return {**waited, _REST: rest_ms, "tokenize": tokenize_ms, "infer": infer_ms}


def _groups(found: Mapping[str, dict]) -> tuple[Group, ...]:
    return tuple(
        Group(
            name,
            group["count"],
            group["latency_ms"],
            group["accuracy"]["checked"],
            group["accuracy"]["share"],
            group["mistaken_for"],
        )
        for name, group in found.items()
    )
