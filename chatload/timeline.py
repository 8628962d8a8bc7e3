"""Timeline: what a run looked like over time, kept in a few hundred bins however long it lasts.

Bins are a second wide; when there are too many, neighbours are merged. Latencies are counted in levels 2 % apart, so that
the percentiles of merged bins are those of their samples, within 1 %. A percentile at a moment is that of the last samples
up to it, as many bins as hold enough of them to carry it (statistics.needed_samples).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chatload import samples, statistics

SHARES = (0.50, 0.90, 0.99, 0.999)
_MOST_BINS = 300
_LOWEST_MS, _STEP = 1e-3, 1.02
_LEVELS = math.ceil(math.log(1e5 / 1e-3) / math.log(_STEP)) + 2  # the first is below 1 us, the last has no end


class Timeline:
    """Takes complete seconds of a run, in order."""

    def __init__(self) -> None:
        self.complete_s = 0
        self._width_s = 1
        self._offered = np.zeros(_MOST_BINS, np.int64)
        self._served = np.zeros(_MOST_BINS, np.int64)
        self._begun = np.zeros(_MOST_BINS, np.int64)  # of those that were ever done, whatever they ended in
        self._ended = np.zeros(_MOST_BINS, np.int64)
        self._latency = np.zeros((_MOST_BINS, _LEVELS), np.int64)
        self._lag = np.zeros((_MOST_BINS, _LEVELS), np.int64)
        self._out = np.empty(0, samples.DTYPE)  # arrivals before complete_s that were done after it

    def advance(self, rows: np.ndarray, complete_s: int) -> None:
        """Takes all samples (samples.DTYPE) that were intended since the last moment given and before ``complete_s``."""
        while complete_s > self._width_s * _MOST_BINS:
            self._merge()
        bins = self._bins(rows["intended_s"])
        self._offered += self._count(bins)
        self._latency += self._count_levels(bins, samples.latency_ms(rows))
        sent = ~np.isnan(rows["sent_s"])
        self._lag += self._count_levels(bins[sent], (rows["sent_s"] - rows["intended_s"])[sent] * 1e3)
        ever_done = ~np.isnan(rows["done_s"])
        self._begun += self._count(bins[ever_done])
        out = np.concatenate([self._out, rows[ever_done]])
        done = out["done_s"] < complete_s
        self._ended += self._count(self._bins(out["done_s"][done]))
        self._served += self._count(self._bins(out["done_s"][done & samples.answered(out)]))
        self._out = out[~done]
        self.complete_s = complete_s

    def _merge(self) -> None:
        """Makes bins twice as wide."""
        for name in ("_offered", "_served", "_begun", "_ended", "_latency", "_lag"):
            counts = getattr(self, name)
            merged = np.zeros_like(counts)
            merged[: _MOST_BINS // 2] = counts[0::2] + counts[1::2]
            setattr(self, name, merged)
        self._width_s *= 2

    def _bins(self, times_s: np.ndarray) -> np.ndarray:
        return (times_s / self._width_s).astype(np.int64)

    def _count(self, bins: np.ndarray) -> np.ndarray:
        return np.bincount(bins, minlength=_MOST_BINS)

    def _count_levels(self, bins: np.ndarray, values_ms: np.ndarray) -> np.ndarray:
        counts = np.bincount(bins * _LEVELS + _level(values_ms), minlength=_MOST_BINS * _LEVELS)
        return counts.reshape(_MOST_BINS, _LEVELS)

    def as_json(self) -> dict[str, Any]:
        """Columns of equal length: ``t_s`` is a bin's end, rates are per second, percentiles and lag in ms.

        None: too few samples for it, or (a percentile) it falls among arrivals that were not answered.
        """
        bins = math.ceil(self.complete_s / self._width_s)
        starts_s = np.arange(bins) * self._width_s
        ends_s = np.minimum(starts_s + self._width_s, self.complete_s)
        seconds = ends_s - starts_s
        return {
            "t_s": ends_s.tolist(),
            "offered": _plain(self._offered[:bins] / seconds),
            "served": _plain(self._served[:bins] / seconds),
            "in_flight": np.cumsum(self._begun[:bins] - self._ended[:bins]).tolist(),
            **{statistics.percentile_name(share): _plain(_percentiles(self._latency[:bins], share)) for share in SHARES},
            "lag_p99": _plain(_percentiles(self._lag[:bins], 0.99)),
        }


def _level(values_ms: np.ndarray) -> np.ndarray:
    """The level of each value; the first takes what is smaller than all levels, the last what is larger, or infinite."""
    with np.errstate(divide="ignore"):
        level = np.floor(np.log(np.maximum(values_ms, 0.0) / _LOWEST_MS) / math.log(_STEP)) + 1
    return np.clip(level, 0, _LEVELS - 1).astype(np.int64)


def _percentiles(counts: np.ndarray, share: float) -> np.ndarray:
    """The percentile at the end of each bin, from ``counts[bin, level]``, in ms; NaN where there is none."""
    needed = statistics.needed_samples(share)
    total = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    upto = total.sum(axis=1)
    # The last bin from which on there are enough.
    first = np.minimum(np.searchsorted(upto, upto[1:] - needed, side="right") - 1, np.arange(len(counts)))
    recent = np.cumsum(total[1:] - total[np.maximum(first, 0)], axis=1)
    rank = np.ceil(recent[:, -1] * share)
    level = (recent < rank[:, None]).sum(axis=1)
    values = _LOWEST_MS * _STEP ** (level - 0.5)
    return np.where((first < 0) | (level == counts.shape[1] - 1), np.nan, values)


def _plain(values: np.ndarray) -> list[float | None]:
    """To four digits; None where there is no number."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]
