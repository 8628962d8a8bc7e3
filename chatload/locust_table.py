"""Locust's table: the run as Locust's own console, web UI and CSV files show it.

Locust adds requests to its statistics one by one, which costs more than sending them. Here they are added a second's at a
time, with the same result, but finer: keys of 0.1 ms below 100 ms where Locust's own are whole milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from chatload import samples

METHOD = "POST"
_COARSE_MS = 100
_MOST_ROWS = 10_000  # adding them takes some 0.1 ms, and more with more


class Table:
    """Adds samples to a locust.stats.RequestStats under the request that ``name`` gives.

    What came in one second waits for the next, or for ``flush``: arrivals wait while it is added, and for a thousand rows
    numpy's code, which is in no cache by then, takes ten times what the rows take.
    """

    def __init__(self, stats: Any, name: Callable[[], str]) -> None:
        self._stats = stats
        self._name = name
        self._at_s = 0.0
        self._waiting: list[bytes] = []

    def take(self, rows: bytes) -> None:
        """Takes rows of samples that have just been reported."""
        now_s = time.time()
        if int(now_s) != int(self._at_s) or sum(map(len, self._waiting)) >= _MOST_ROWS * samples.ROW.size:
            self.flush()
        self._at_s = now_s
        self._waiting.append(rows)

    def flush(self) -> None:
        """Adds what still waits: nothing more comes, or not now."""
        rows = samples.from_bytes(b"".join(self._waiting))
        self._waiting.clear()
        _add(self._stats, self._name(), rows, self._at_s)


def _add(stats: Any, name: str, rows: np.ndarray, at_s: float) -> None:
    """Adds rows as if their answers had come at ``at_s`` (seconds of time.time()).

    Latency counts from the intended time. An arrival that was not answered is a failure without a response time: its
    time, long or short, would pass for an answer's.
    """
    if not len(rows):
        return
    second, answered = int(at_s), samples.answered(rows)
    latency_ms = samples.latency_ms(rows)[answered]
    smallest, largest, total_ms = _extent(latency_ms)
    histogram = _histogram(latency_ms, smallest, largest)
    size = int(rows["bytes"].sum())
    for entry in (stats.total, stats.get(name, METHOD)):
        if entry.use_response_times_cache and entry.last_request_timestamp and second > int(entry.last_request_timestamp):
            entry._cache_response_times(second - 1)
        entry.num_requests += len(rows)
        entry.num_none_requests += len(rows) - len(latency_ms)
        entry.num_reqs_per_sec[second] += len(rows)
        entry.last_request_timestamp = at_s
        entry.total_content_length += size
        for key, count in histogram:
            entry.response_times[key] += count
        if len(latency_ms):
            entry.total_response_time += total_ms
            entry.min_response_time = min(smallest, smallest if entry.min_response_time is None else entry.min_response_time)
            entry.max_response_time = max(entry.max_response_time, largest)
    if len(latency_ms) < len(rows):
        for code, count in zip(*np.unique(rows["outcome"][~answered], return_counts=True), strict=True):
            _add_failures(stats, name, samples.outcome_name(int(code)), int(count), second)


def _add_failures(stats: Any, name: str, outcome: str, count: int, second: int) -> None:
    stats.log_error(METHOD, name, outcome)  # makes the entries; the rest of the count follows
    for entry in (stats.total, stats.get(name, METHOD)):
        entry.num_failures += count - 1
        entry.num_fail_per_sec[second] += count - 1
    error = next(error for error in stats.errors.values() if (error.name, error.error) == (name, outcome))
    error.occurrences += count - 1


def _extent(latency_ms: np.ndarray) -> tuple[float, float, float]:
    """(smallest, largest, sum)"""
    if not len(latency_ms):
        return 0.0, 0.0, 0.0
    return float(latency_ms.min()), float(latency_ms.max()), float(latency_ms.sum())


def _histogram(latency_ms: np.ndarray, smallest: float, largest: float) -> list[tuple[float, int]]:
    """(key, count) of Locust's histogram, by steps of 0.1 ms below 100 ms, 1 ms below 1 s, 10 ms above."""
    if smallest >= 0 and largest < _COARSE_MS:  # the usual case, in few steps: an arrival may be waiting
        counts = np.bincount(np.rint(latency_ms * 10).astype(np.intp))
        keys = np.flatnonzero(counts)
        return list(zip((keys / 10).tolist(), counts[keys].tolist(), strict=True))
    fine, whole = np.round(latency_ms, 1), np.round(latency_ms)
    found = np.where(latency_ms < _COARSE_MS, fine, np.where(latency_ms < 1000, whole, np.round(latency_ms, -1)))
    keys, counts = np.unique(found, return_counts=True)
    return list(zip(keys.tolist(), counts.tolist(), strict=True))
